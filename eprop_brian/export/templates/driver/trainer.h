// Training: what runs next, and what is made of what ran.
//
// The network runs in main(), which asks `next` for work until there is none.
#ifndef EPROP_BRIAN_TRAINER_H
#define EPROP_BRIAN_TRAINER_H

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "description.h"
#include "../common/errors.h"
#include "files.h"
#include "progress.h"
#include "run_folder.h"
#include "session.h"
#include "trials.h"

namespace eprop_brian
{
// Fresh trials without learning, one call after the other.
class Evaluation
{
public:
    Evaluation(const TrialSource& source, const std::string& stream)
        : source(source), stream(stream)
    {
    }

    // The trials of the next call; none at the end.
    Trials next()
    {
        if (first >= batch.size())
        {
            if (index == source.test_batches(stream))
                return Trials();
            batch = source.batches(stream, index++, 1, source.test_size(stream));
            first = 0;
        }
        const int last = std::min(batch.size(), first + description.n_trials);
        const Trials part = batch.part(first, last);
        first = last;
        return part;
    }

    void add(const Outcome& outcome)
    {
        losses.insert(losses.end(), outcome.loss.begin(), outcome.loss.end());
        errors.insert(errors.end(), outcome.error.begin(), outcome.error.end());
    }

    double loss() const { return mean(losses); }
    double error() const { return mean(errors); }

    // What confirmed that a task is solved.
    std::string text() const
    {
        char text[80];
        std::snprintf(
            text, sizeof text, "confirmed by an error of %.4f on %zu other trials", error(),
            errors.size());
        return text;
    }

private:
    const TrialSource& source;
    std::string stream;
    Trials batch;
    int index = 0, first = 0;
    std::vector<double> losses, errors;
};

class Trainer
{
public:
    Trainer(
        Session& session, const TrialSource& source, const RunFolder& folder, const Archive& like,
        const History& history, int iterations, double learning_rate, bool stop, bool quiet)
        : session(session), source(source), folder(folder), like(like), history(history),
          iterations(iterations), learning_rate(learning_rate), stop(stop),
          progress(iterations, quiet), good(session.state), saved(std::chrono::steady_clock::now())
    {
        if (history.size() > 0 && may_be_solved())
            validate();
    }

    // Whether there is something to run; prepares it.
    bool next()
    {
        collect();
        if (phase == Phase::validating && !ask(*evaluation))
        {
            phase = Phase::training;
            if (evaluation->error() < description.error_threshold)
                test(Phase::confirming, confirmation_of(validation()));
        }
        if (phase == Phase::confirming && !ask(*evaluation))
        {
            phase = Phase::training;
            solved = evaluation->error() < description.error_threshold;
            confirmed = evaluation->text();
        }
        if (phase == Phase::training && !train())
            finish();
        if (phase == Phase::testing && !ask(*evaluation))
            phase = Phase::done;
        return phase != Phase::done;
    }

    // Stop early, with the last good state.
    void abandon()
    {
        progress.end();
        save();
    }

    int iteration() const { return history.size(); }

    void print_result() const
    {
        if (evaluation && description.has_error)
            std::printf("loss %.6g error %.4f\n", evaluation->loss(), evaluation->error());
        else if (evaluation)
            std::printf("loss %.6g\n", evaluation->loss());
        else if (iteration() > 0)
            std::printf("loss %.6g\n", history.loss.back());
    }

private:
    enum class Phase
    {
        training,
        validating,
        confirming,
        testing,
        done
    };

    Session& session;
    const TrialSource& source;
    const RunFolder& folder;
    const Archive& like;
    History history;
    const int iterations;
    const double learning_rate;
    const bool stop;
    Progress progress;
    State good;  // of the last call that went well
    Phase phase = Phase::training;
    bool solved = false;
    bool is_named = false;  // whether it was said that no neuron fires
    std::string confirmed;  // by what
    std::unique_ptr<Evaluation> evaluation;
    Trials trials;  // of the run that was asked for
    int batch_size = 1;
    std::chrono::steady_clock::time_point started, saved;

    void save() const { folder.save(history, good.archive(like)); }

    void ask(int batch_size, bool learning)
    {
        this->batch_size = batch_size;
        session.prepare(trials, batch_size, learning, learning_rate);
        started = std::chrono::steady_clock::now();
    }

    bool ask(Evaluation& of)
    {
        trials = of.next();
        if (trials.size() > 0)
            ask(trials.size(), false);
        return trials.size() > 0;
    }

    // What came out of the run before.
    void collect()
    {
        if (trials.size() == 0)
            return;
        const Outcome outcome = session.outcome(trials);
        if (phase == Phase::training)
            record(outcome);
        else
            evaluation->add(outcome);
        trials = Trials();
    }

    bool train()
    {
        const int first = iteration();
        if (solved || first >= iterations)
            return false;
        // Calls end at the same iterations whether or not a run was interrupted.
        const int size = description.iterations_per_call;
        const int end = std::min(iterations, (first/size + 1)*size);
        // A call ends early where a batch has fewer trials, as at the end of an epoch.
        const int batch_size = source.batch_size(first);
        int last = first + 1;
        while (last < end && source.batch_size(last) == batch_size)
            last++;
        trials = source.batches("train", first, last - first, batch_size);
        ask(batch_size, true);
        return true;
    }

    void record(const Outcome& outcome)
    {
        const int size = batch_size, n = trials.size()/size;
        const int per_call = description.iterations_per_call;
        const bool ends = iteration() + n == iterations || (iteration() + n) % per_call == 0;
        const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - started;
        session.read_state(n);
        for (std::size_t i = 0; i < outcome.loss.size(); i++)
            if (!std::isfinite(outcome.loss[i]))
                throw_not_finite(
                    "the loss is no longer finite at iteration " +
                    std::to_string(iteration() + i/size + 1) + ", trial " +
                    std::to_string(i % size) + " of its batch");
        const std::string bad = session.state.not_finite();
        if (!bad.empty())
            throw_not_finite(
                bad + ", is no longer finite after iteration " + std::to_string(iteration() + n) +
                ", while all losses are: an update made it so");
        check_alive(outcome, n);
        for (int i = 0; i < n; i++)
        {
            history.loss.push_back(of_batch(outcome.loss, i));
            history.error.push_back(of_batch(outcome.error, i));
            history.rate_hz.push_back(of_batch(outcome.rate_hz, i));
            history.seconds.push_back(elapsed.count()/n);
            history.alignment.push_back(ends && i == n - 1 ? session.alignment() : NAN);
        }
        good = session.state;
        progress.show(history, trials.size()/elapsed.count(), iteration() == iterations);
        const auto now = std::chrono::steady_clock::now();
        if (now - saved > std::chrono::seconds(5))
        {
            save();
            saved = now;
        }
        if (ends && may_be_solved())
            validate();
    }

    // Names a network of which a call had no spike, and whose weights stay where they are. As in
    // Trainer._check_alive of eprop_brian, which can look at the surrogate too.
    void check_alive(const Outcome& outcome, int n)
    {
        const bool learns = description.learning_rates.empty() || learning_rate != 0;
        const bool fires = mean(outcome.rate_hz) > 0;
        is_named = is_named && !fires;
        if (fires || is_named || !learns)
            return;
        const double change = session.state.largest_change(good);
        if (change > 1e-12)
            return;
        is_named = true;
        int last_spike = iteration();
        while (last_spike > 0 && history.rate_hz[last_spike - 1] == 0)
            last_spike--;
        const int first = last_spike > 0 ? last_spike : iteration();
        std::string text =
            "no neuron fires in any trial of iterations " + std::to_string(first + 1) + " to " +
            std::to_string(iteration() + n);
        if (last_spike > 0)
            text += " (the last to fire did so in iteration " + std::to_string(last_spike) + ")";
        text += std::string(", and no weight changes") + (change > 0 ? " by more than rounding" : "") +
                ": the surrogate is all but 0, or no error arrives. ";
        if (last_spike > 0 && !description.learning_rates.empty())
            text += "The largest weight is " + short_text(session.state.largest_weight()) +
                    ": if learning has silenced the network, try a smaller learning rate (now " +
                    number_text(learning_rate) + ")";
        else
            text += "Scale the input weights up, lower the threshold, or choose a surrogate that is "
                    "wide enough";
        const bool all_right = mean(outcome.loss) == 0;
        if (!all_right && session.state.is_as(good))
            throw Error(text);
        progress.end();
        std::fprintf(stderr, "Warning: %s\n", text.c_str());
    }

    static std::string short_text(double value)
    {
        char text[20];
        std::snprintf(text, sizeof text, "%.3g", value);
        return text;
    }

    // Which state, surrogate or coefficient it was is found where every step can be looked at.
    void throw_not_finite(const std::string& what)
    {
        const std::string rate =
            description.learning_rates.empty()
                ? std::string()
                : ". If weights have grown, try a smaller learning rate (now " +
                      number_text(learning_rate) + ")";
        // Of trials in files the tool knows nothing, and refuses to go on.
        const std::string advice =
            exists(folder.trials())
                ? std::string()
                : ". `eprop-brian train --resume " + folder.path +
                      "` names the quantity, the neuron and the step";
        throw Error(what + rate + advice);
    }

    double of_batch(const std::vector<double>& values, int batch) const
    {
        const auto first = values.begin() + batch*batch_size;
        return mean(std::vector<double>(first, first + batch_size));
    }

    // Training trials are fresh too: asking them first keeps lucky validations rare.
    bool may_be_solved() const
    {
        const int every = description.check_every;
        if (!stop || description.error_threshold <= 0 || iteration() % every ||
            !source.has("validation"))
            return false;
        return mean(history.error, iteration() - every) < 1.25*description.error_threshold;
    }

    std::string validation() const { return "validation " + std::to_string(iteration()); }

    void validate() { test(Phase::validating, validation()); }

    void test(Phase next, const std::string& stream)
    {
        phase = next;
        evaluation.reset(new Evaluation(source, stream));
    }

    void finish()
    {
        save();
        progress.end();
        if (solved)
            std::printf("solved at iteration %d, %s\n", iteration(), confirmed.c_str());
        std::printf("wrote %s, %s\n", folder.file("history.csv").c_str(),
                    folder.file("checkpoint.npz").c_str());
        std::fflush(stdout);
        evaluation.reset();
        phase = Phase::done;
        // Not the tests that ended training, which were chosen for being low.
        if (source.has("test"))
            test(Phase::testing, "test");
    }
};
}
#endif
