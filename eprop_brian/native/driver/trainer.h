// Training until the task is solved or all iterations are done.
#ifndef EPROP_BRIAN_TRAINER_H
#define EPROP_BRIAN_TRAINER_H

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "description.h"
#include "../common/errors.h"
#include "files.h"
#include "firing.h"
#include "progress.h"
#include "run_folder.h"
#include "eprop.h"
#include "trials.h"

namespace eprop_brian
{
class Trainer
{
public:
    Trainer(
        Network& network, const TrialSource& source, const RunFolder& folder,
        const History& history, int iterations, bool stop, bool quiet)
        : network(network), source(source), folder(folder), history(history),
          iterations(iterations), stop(stop), progress(iterations, quiet), good(network.state),
          saved(std::chrono::steady_clock::now())
    {
    }

    // Train, and test on fresh trials in the end.
    void train()
    {
        if (history.size() > 0)
            validate();
        while (!solved && iteration() < iterations)
            learn();
        save();
        progress.end();
        if (solved)
            std::printf("solved at iteration %d, confirmed by %s\n", iteration(), confirmed.c_str());
        std::printf("wrote %s, %s\n", folder.file("history.csv").c_str(),
                    folder.file("checkpoint.npz").c_str());
        std::fflush(stdout);
        // Tests that ended training were selected for being low; these are others.
        if (source.has("test"))
            print(evaluate("test"));
        else if (description.acts)
            print_return();
        else if (iteration() > 0)
            std::printf("loss %.6g\n", history.loss.back());
    }

    // Stop early, with the last good state.
    void abandon()
    {
        progress.end();
        save();
    }

    int iteration() const { return history.size(); }

private:
    Network& network;
    const TrialSource& source;
    const RunFolder& folder;
    History history;
    const int iterations;
    const bool stop;
    Progress progress;
    State good;  // of the last call that went well
    bool solved = false;
    bool is_named = false;  // whether it was reported that no neuron fires
    FiringWatch firing;
    std::string confirmed;  // by what
    std::chrono::steady_clock::time_point saved;

    void save() const { folder.save(history, good.archive(network.initial)); }

    // Fresh trials without learning.
    Outcome evaluate(const std::string& stream)
    {
        Outcome all;
        for (int index = 0; index < source.test_batches(stream); index++)
        {
            const Trials batch = source.batches(stream, index, 1, source.test_size(stream));
            for (int first = 0; first < batch.size(); first += description.n_trials)
            {
                const int last = std::min(batch.size(), first + description.n_trials);
                all.append(network.run(batch.part(first, last), last - first, false, true));
            }
        }
        return all;
    }

    static void print(const Outcome& outcome)
    {
        std::printf("loss %.6g", mean(outcome.loss));
        if (description.has_error)
            std::printf(
                " %s %.4f", description.most_labels ? "label error rate" : "error",
                mean_error(outcome));
        std::printf("\n");
    }

    void print_return() const
    {
        if (!solved && !std::isnan(description.solved_return))
            std::printf(
                "not solved: a mean return of %g counts as solved\n", description.solved_return);
        const auto recent = history.recent_return();
        std::printf("return %.6g (mean of the last %d episodes)\n", recent.first, recent.second);
    }

    // Run the trials of some iterations and update after each.
    void learn()
    {
        const int first = iteration();
        // Calls end at the same iterations whether or not a run was interrupted.
        const int size = description.iterations_per_call;
        const int end = std::min(iterations, (first/size + 1)*size);
        // A call ends early where a batch has fewer trials, as at the end of an epoch.
        const int batch_size = source.batch_size(first);
        int last = first + 1;
        while (last < end && source.batch_size(last) == batch_size)
            last++;
        const Trials trials = source.batches("train", first, last - first, batch_size);
        const auto started = std::chrono::steady_clock::now();
        const Outcome outcome = network.run(trials, batch_size, true);
        const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - started;
        record(outcome, batch_size, elapsed.count());
    }

    void record(const Outcome& outcome, int size, double seconds)
    {
        const int n = outcome.loss.size()/size;
        const int per_call = description.iterations_per_call;
        const bool ends = iteration() + n == iterations || (iteration() + n) % per_call == 0;
        const std::string bad = network.state.not_finite();
        const std::string doubtful = not_finite(outcome, size);
        if (!bad.empty())
            throw_not_finite(
                !doubtful.empty() ? doubtful
                                  : bad + ", is no longer finite after iteration " +
                                        std::to_string(iteration() + n) +
                                        ", though all losses are: an update overflowed");
        if (!doubtful.empty() && was_finite())
            warn(doubtful + ". All weights are finite: training goes on");
        check_alive(outcome, n);
        for (int i = 0; i < n; i++)
        {
            history.loss.push_back(of_batch(outcome.loss, i, size));
            history.error.push_back(mean_error(outcome, i*size, (i + 1)*size));
            history.rate_hz.push_back(of_batch(outcome.rate_hz, i, size));
            history.seconds.push_back(seconds/n);
            history.alignment.push_back(ends && i == n - 1 ? network.alignment() : NAN);
            for (std::size_t k = 0; k < history.rates_hz.size(); k++)
                history.rates_hz[k].push_back(of_batch(outcome.rates_hz[k], i, size));
            if (!description.acts)
                continue;
            history.returns.push_back(of_batch(outcome.returns, i, size));
            history.length.push_back(of_batch(outcome.length, i, size));
            history.entropy.push_back(of_batch(outcome.entropy, i, size));
            history.value_error.push_back(of_batch(outcome.value_error, i, size));
        }
        good = network.state;
        if (learns())
            for (const std::string& text : firing.follow(history, is_named))
                warn(text);
        progress.show(history, outcome.loss.size()/seconds, iteration() == iterations);
        const auto now = std::chrono::steady_clock::now();
        if (now - saved > std::chrono::seconds(5))
        {
            save();
            saved = now;
        }
        if (ends)
            validate();
    }

    // Report a network that had no spike in a call and whose weights did not change, as does
    // FiringWatch of eprop_brian, which can also read the surrogate.
    void check_alive(const Outcome& outcome, int n)
    {
        const bool fires = mean(outcome.rate_hz) > 0;
        is_named = is_named && !fires;
        if (fires || is_named || !learns())
            return;
        const double change = network.state.largest_change(good);
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
            text += "The largest weight is " + short_text(network.state.largest_weight()) +
                    ": if learning has silenced the network, try a smaller learning rate (now " +
                    number_text(network.learning_rate) + ")";
        else
            text += "Scale the input weights up, lower the threshold, or choose a surrogate that is "
                    "wide enough";
        const bool all_right = mean(outcome.loss) == 0;
        if (!all_right && network.state.is_as(good))
            throw Error(text);
        warn(text);
    }

    bool learns() const
    {
        return description.learning_rates.empty() || network.learning_rate != 0;
    }

    void warn(const std::string& text)
    {
        progress.end();
        std::fprintf(stderr, "Warning: %s\n", text.c_str());
    }

    // The first loss or return of a call that is not finite; "" if all are.
    std::string not_finite(const Outcome& outcome, int size) const
    {
        for (std::size_t i = 0; i < outcome.loss.size(); i++)
            if (!std::isfinite(outcome.loss[i]) ||
                (description.acts && !std::isfinite(outcome.returns[i])))
                return std::string(std::isfinite(outcome.loss[i]) ? "a return" : "the loss") +
                       " is no longer finite at iteration " +
                       std::to_string(iteration() + i/size + 1) + ", trial " +
                       std::to_string(i % size) + " of its batch";
        return "";
    }

    // Whether the losses and returns of the last iterations are finite.
    bool was_finite() const
    {
        for (int row = std::max(0, iteration() - 10); row < iteration(); row++)
            if (!std::isfinite(history.loss[row]) ||
                (description.acts && !std::isfinite(history.returns[row])))
                return false;
        return true;
    }

    static std::string short_text(double value)
    {
        char text[20];
        std::snprintf(text, sizeof text, "%.3g", value);
        return text;
    }

    // Only the tool can check every step, and name the state, surrogate or coefficient.
    void throw_not_finite(const std::string& what)
    {
        const std::string rate =
            description.learning_rates.empty()
                ? std::string()
                : ". If weights have grown, try a smaller learning rate (now " +
                      number_text(network.learning_rate) + ")";
        // The tool cannot resume a run that learned from files.
        const std::string advice =
            exists(folder.trials())
                ? std::string()
                : ". `eprop-brian train --resume " + folder.path +
                      "` names the quantity, the neuron and the step";
        throw Error(what + rate + advice);
    }

    static double of_batch(const std::vector<double>& values, int batch, int batch_size)
    {
        const auto first = values.begin() + batch*batch_size;
        return mean(std::vector<double>(first, first + batch_size));
    }

    // Training trials are fresh too: checking them first keeps lucky validations rare.
    bool may_be_solved() const
    {
        const int every = description.check_every;
        if (!stop || iteration() % every || !source.has("validation"))
            return false;
        if (description.acts)
        {
            const auto recent = history.recent_return();
            return recent.second == description.n_episodes &&
                   recent.first >= description.solved_return;
        }
        return description.error_threshold > 0 &&
               mean(history.error, iteration() - every) < 1.25*description.error_threshold;
    }

    // Whether the task is solved: validation trials meet the criterion, and others confirm it. Of
    // episodes, those of training do, and fresh ones confirm it.
    void validate()
    {
        if (!may_be_solved())
            return;
        const std::string stream = "validation " + std::to_string(iteration());
        char text[80];
        if (description.acts)
        {
            const double value = mean(evaluate(stream).returns);
            solved = value >= description.solved_return;
            std::snprintf(
                text, sizeof text, "a return of %.6g in %d fresh episodes", value,
                description.n_episodes);
            confirmed = text;
            return;
        }
        if (!(mean_error(evaluate(stream)) < description.error_threshold))
            return;
        const Outcome others = evaluate(confirmation_of(stream));
        solved = mean_error(others) < description.error_threshold;
        std::snprintf(
            text, sizeof text, "an error of %.4f on %zu other trials",
            mean_error(others), others.error.size());
        confirmed = text;
    }
};
}
#endif
