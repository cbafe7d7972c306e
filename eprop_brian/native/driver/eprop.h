// A network that learns, as a library.
//
//     Network network("project");                // the exported project, for its data/
//     const auto task = task_trials("project", description.seed);
//     const Outcome outcome = network.run(task->batches("train", 0, 1, 4), 4, true);
//     const std::vector<double> w_in = network.get("w_in");
//
// `run` runs trials and, learning, updates the weights after every batch. `get` and `set` take the
// names of data/start/initial.npz: weights, learned parameters and states of the optimizer; matrices
// are stored by rows, [postsynaptic, presynaptic]. A program has one network, the one it was compiled
// with (../program.h). Mistakes are thrown as Error.
//
// Trials come from the task (drawn_trials.h), from files (recorded_trials.h) or from your own code,
// which fills the vectors of Trials (trials.h).
#ifndef EPROP_BRIAN_EPROP_H
#define EPROP_BRIAN_EPROP_H

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "../philox.h"
#include "../program.h"
#include "../running.h"
#include "data.h"
#include "description.h"
#include "drawn_trials.h"
#include "state.h"
#include "trials.h"
#include "values.h"

namespace eprop_brian
{
// Results of every trial. For a task without right and wrong answers, `error` is NAN. `weight` is
// what the error counts in a mean.
struct Outcome
{
    std::vector<double> loss, error, weight, rate_hz;
    std::vector<std::vector<double>> rates_hz;  // of each population
    // Of episodes: the sum of the rewards, the number of actions, means over them of the entropy of
    // the policy and of the squared error of the value.
    std::vector<double> returns, length, entropy, value_error;

    void append(const Outcome& other)
    {
        for (const auto column : {&Outcome::loss, &Outcome::error, &Outcome::weight, &Outcome::rate_hz,
                                  &Outcome::returns, &Outcome::length, &Outcome::entropy,
                                  &Outcome::value_error})
            (this->*column).insert(
                (this->*column).end(), (other.*column).begin(), (other.*column).end());
        rates_hz.resize(other.rates_hz.size());
        for (std::size_t k = 0; k < rates_hz.size(); k++)
            rates_hz[k].insert(
                rates_hz[k].end(), other.rates_hz[k].begin(), other.rates_hz[k].end());
    }
};

// Thrown if a signal ended a run of trials; the state is the one before it.
struct Interrupted
{
};

inline double mean(const std::vector<double>& values, std::size_t first = 0)
{
    double sum = 0;
    for (std::size_t i = first; i < values.size(); i++)
        sum += values[i];
    return sum/(values.size() - first);
}

// The mean error of some trials, from the first to before the last.
inline double mean_error(const Outcome& outcome, std::size_t first, std::size_t last)
{
    double sum = 0, weights = 0;
    for (std::size_t i = first; i < last; i++)
    {
        sum += outcome.error[i]*outcome.weight[i];
        weights += outcome.weight[i];
    }
    return sum/weights;
}

inline double mean_error(const Outcome& outcome)
{
    return mean_error(outcome, 0, outcome.error.size());
}

class Network
{
public:
    const Archive initial;  // the state before training, and the form of its files
    State state;
    double learning_rate = description.learning_rate;

    explicit Network(const std::string& project)
        : initial(Archive::read(project + "/data/start/initial.npz")), state(initial, initial),
          constants(own_data(project, "constants.npz"))
    {
        flush_denormals();
        for (const auto& member : own_data(project, "places.npz").members)
            places[member.first] = member.second.integers();
        for (const StateArray& array : description.state)
        {
            const std::size_t stored = values_of(array.state).size();
            if (const std::vector<std::int64_t>* places = places_of(array))
                check_places(array.array, *places, size_of(array.array), stored);
            else if (stored != size_of(array.array))
                throw Error("'" + array.state + "' of the saved state does not fit the network");
        }
        for (const Signal& signal : description.signals)
            check_places(
                signal.weights, places.at(signal.places), values_of(signal.weights).size(),
                values_of(signal.readout_weights).size());
    }

    // Numbers of the state by their name.
    const std::vector<double>& get(const std::string& name) const { return values_of(name); }

    void set(const std::string& name, const std::vector<double>& values)
    {
        if (values.size() != values_of(name).size())
            throw Error(
                "'" + name + "' has " + std::to_string(values_of(name).size()) + " numbers, not " +
                std::to_string(values.size()));
        for (const Signal& signal : description.signals)
            if (name == signal.weights && signal.follows)
                throw Error("'" + name + "' follows '" + signal.readout_weights + "': set that instead");
        State::check_clock(name, values);
        state.values.at(name) = values;
        follow();
    }

    // Write the state to a file like data/start/initial.npz.
    void save(const std::string& path) const { state.archive(initial).write(path); }

    // Weights of a seed, in the order in which eprop_brian draws them.
    void draw_weights(std::uint64_t seed)
    {
        Random random(seed, "weights");
        for (const Drawn& drawn : description.drawn)
        {
            std::vector<double>& weights = state.values.at(drawn.state);
            if (drawn.given)
            {
                weights = initial.at(drawn.state).doubles();
                continue;
            }
            if (drawn.uniform)
                for (double& weight : weights)
                    weight = -drawn.limit + 2*drawn.limit*random.uniform();
            else
                weights = random.normals(weights.size());
            for (double& weight : weights)
            {
                weight = (drawn.uniform ? weight : weight/drawn.divisor)*drawn.factor;
                if (drawn.sign != 0)
                    weight = drawn.sign*std::fabs(weight);
            }
            for (int i = 0; i < drawn.diagonal; i++)
                weights[(std::size_t)i*drawn.diagonal + i] = 0;
            if (drawn.masked >= 0)
                for (std::size_t i = 0; i < weights.size(); i++)
                    if (readout_weight(description.signals[drawn.masked], i) == 0)
                        weights[i] = 0;
        }
        follow();
    }

    // Run trials, at most description.n_trials; learning, with an update after every `batch_size`.
    // In an environment, `greedy` takes the best action rather than one at random.
    Outcome run(const Trials& trials, int batch_size, bool learning, bool greedy = false)
    {
        if (trials.size() < 1 || trials.size() > description.n_trials)
            throw Error(
                "a call runs 1 to " + std::to_string(description.n_trials) + " trials, not " +
                std::to_string(trials.size()));
        if (batch_size < 1 || trials.size() % batch_size != 0)
            throw Error(
                std::to_string(trials.size()) + " trials cannot be divided into batches of " +
                std::to_string(batch_size));
        trials.check();
        prepare(trials, batch_size, learning);
        if (description.acts)
            put_values("control.greedy", {(double)greedy});
        run_network();
        if (stopping())
            throw Interrupted();
        if (learning)
            read_state(trials.size()/batch_size);
        return outcome(trials);
    }

    // Cosine of the angle between feedback weights and transposed readout weights, of all signals
    // to neurons that a readout hears.
    double alignment() const
    {
        double product = 0, b_square = 0, w_square = 0;
        for (const Signal& signal : description.signals)
        {
            const std::vector<double>& b = state.values.at(signal.weights);
            for (std::size_t i = 0; i < b.size(); i++)
            {
                product += b[i]*readout_weight(signal, i);
                b_square += b[i]*b[i];
            }
            for (const double w : state.values.at(signal.readout_weights))
                w_square += w*w;
        }
        const double size = std::sqrt(b_square)*std::sqrt(w_square);
        return size > 0 ? product/size : NAN;
    }

private:
    const Archive constants;
    std::map<std::string, std::vector<std::int64_t>> places;

    // Set everything that a run reads.
    void prepare(const Trials& trials, int batch_size, bool learning) const
    {
        for (const auto& member : constants.members)
            put_bytes(member.first, member.second.bytes);
        for (const StateArray& array : description.state)
            put_values(array.array, stored(array));
        for (const std::string& array : description.learning_rates)
            put_values(array, std::vector<double>(size_of(array), learning_rate));
        if (!description.continuous)
            put_values("control.k", {(double)state.n_updates});
        put_values("control.n_trials", {(double)trials.size()});
        put_values("control.batch_size", {(double)batch_size});
        put_values("control.learning", {(double)learning});
        put_values("control.updating", {(double)learning});
        put_values("control.trial", {0});
        put_values("control.step", {0});
        if (!description.acts)
            put_data(trials);
        if (description.noise)
        {
            std::vector<std::uint32_t> low, high;
            for (const std::uint64_t key : trials.noise_of_all())
            {
                low.push_back(key);
                high.push_back(key >> 32);
            }
            put_bytes("trials.noise_low", raw(low));
            put_bytes("trials.noise_high", raw(high));
        }
    }

    static void put_data(const Trials& trials)
    {
        if (description.analog)
            put_values("input_data.x", trials.values);
        else
            put_bytes("input_data.words", raw(trials.words_by_group()));
        put_values("target_data.y_target", trials.targets);
        put_bytes("trials.pattern", raw(trials.pattern));
        put_bytes("trials.target", raw(trials.target));
        if (description.has_lengths)
            put_bytes("trials.length", raw(trials.lengths));
        if (description.n_answers > 0)
            put_bytes("period_data.period", raw(trials.periods));
        if (description.most_labels > 0)
            put_bytes("label_data.label_number", raw(trials.labels));
    }

    // Read what the last run changed by learning.
    void read_state(int n_updates)
    {
        for (const StateArray& array : description.state)
        {
            if (!array.learned)
                continue;
            const std::vector<double> learned = get_values(array.array);
            std::vector<double>& values = state.values.at(array.state);
            const std::vector<std::int64_t>* places = places_of(array);
            for (std::size_t i = 0; i < learned.size(); i++)
                if (!places)
                    values[i] = learned[i];
                else if ((*places)[i] >= 0)
                    values[(*places)[i]] = learned[i];
        }
        follow();
        state.n_updates += n_updates;
    }

    Outcome outcome(const Trials& trials) const
    {
        const int n_outputs = description.n_outputs, n_answers = Trials::n_answers();
        const std::vector<double> losses = get_values("outcomes.loss");
        const std::vector<double> outputs = get_values("answers.output");
        const std::vector<double> spikes = get_values("trials_results.spike_count");
        const std::vector<Population>& populations = description.populations;
        Outcome result;
        result.rates_hz.resize(populations.size());
        if (description.acts)
            read_episodes(result, trials.size());
        for (int trial = 0; trial < trials.size(); trial++)
        {
            double loss = 0, wrong = 0, judged = 0, n_steps = trials.steps(trial);
            if (description.acts)
                n_steps = result.length[trial]*description.steps_per_action;
            for (const Readout& readout : description.readouts)
            {
                double own_loss = 0, own_wrong = 0, counted = 0, answers = 0;
                for (int out = readout.first; out < readout.first + readout.size; out++)
                    own_loss += losses[(std::size_t)trial*n_outputs + out];
                if (description.acts)
                    counted = result.length[trial];
                for (int answer = 0; answer < n_answers && !description.acts; answer++)
                {
                    const int steps = trials.counted(trial, answer, readout);
                    counted += steps;
                    if (steps == 0)
                        continue;
                    const std::size_t row = (std::size_t)trial*n_answers + answer;
                    const double* sums = &outputs[row*n_outputs + readout.first];
                    const int answered = std::max_element(sums, sums + readout.size) - sums;
                    own_wrong += answered != trials.right_class(trial, answer, readout);
                    answers++;
                }
                if (readout.of_labels)
                {
                    const double* sums =
                        &outputs[(std::size_t)trial*n_answers*n_outputs + readout.first];
                    const std::vector<int> shown =
                        greedy_labels(sums, (int)answers, readout.size, n_outputs);
                    own_wrong = edit_distance(shown, trials.labels_of(trial))/trials.weight(trial);
                    answers = 1;
                }
                own_loss /= readout.mean_over_readouts ? readout.size : 1;
                loss += own_loss/(readout.mean_over_window ? counted : 1);
                wrong += readout.judged ? own_wrong/answers : 0;
                judged += readout.judged;
            }
            result.loss.push_back(loss);
            result.error.push_back(description.has_error ? wrong/judged : NAN);
            result.weight.push_back(description.acts ? 1 : trials.weight(trial));
            const double seconds = n_steps*description.dt;
            double all = 0;
            for (std::size_t k = 0; k < populations.size(); k++)
            {
                const double count = spikes[trial*populations.size() + k];
                result.rates_hz[k].push_back(count/(populations[k].size*seconds));
                all += count;
            }
            result.rate_hz.push_back(all/(description.n_recurrent*seconds));
        }
        return result;
    }

    static void read_episodes(Outcome& result, int n_trials)
    {
        const std::vector<double> entropy = get_values("entropies.entropy");
        const std::size_t n_outputs = entropy.size()/description.n_trials;
        result.returns = get_values("episodes.episode_return");
        result.length = get_values("episodes.n_actions");
        result.value_error = get_values("episodes.value_error");
        for (const auto column : {&result.returns, &result.length, &result.value_error})
            column->resize(n_trials);
        for (double& length : result.length)
            length = std::round(length);
        for (int trial = 0; trial < n_trials; trial++)
        {
            const auto own = entropy.begin() + trial*n_outputs;
            result.entropy.push_back(std::accumulate(own, own + n_outputs, 0.0));
        }
    }

    const std::vector<double>& values_of(const std::string& name) const
    {
        const auto found = state.values.find(name);
        if (found == state.values.end())
            throw Error("the state does not have '" + name + "'");
        return found->second;
    }

    // Places are -1 (padding) or index one of the values.
    static void check_places(
        const std::string& name, const std::vector<std::int64_t>& places, std::size_t count,
        std::size_t n_values)
    {
        bool fit = places.size() == count;
        for (const std::int64_t place : places)
            fit = fit && place >= -1 && place < (std::int64_t)n_values;
        if (!fit)
            throw Error("places.npz and the weights do not fit together: " + name);
    }

    const std::vector<std::int64_t>* places_of(const StateArray& array) const
    {
        return array.places.empty() ? nullptr : &places.at(array.places);
    }

    // Values of an array of the program, as they are stored there; padding is 0.
    std::vector<double> stored(const StateArray& array) const
    {
        const std::vector<double>& values = state.values.at(array.state);
        const std::vector<std::int64_t>* places = places_of(array);
        if (!places)
            return values;
        std::vector<double> result;
        for (const std::int64_t place : *places)
            result.push_back(place < 0 ? 0.0 : values[place]);
        return result;
    }

    // The readout weight of the pair that entry `i` of a signal's weights belongs to.
    double readout_weight(const Signal& signal, std::size_t i) const
    {
        const std::int64_t place = places.at(signal.places)[i];
        return place < 0 ? 0.0 : state.values.at(signal.readout_weights)[place];
    }

    // Symmetric feedback is the transposed readout weights.
    void follow()
    {
        for (const Signal& signal : description.signals)
        {
            if (!signal.follows)
                continue;
            std::vector<double>& b = state.values.at(signal.weights);
            for (std::size_t i = 0; i < b.size(); i++)
                b[i] = readout_weight(signal, i);
        }
    }
};
}
#endif
