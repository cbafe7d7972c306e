// Between the state of training, as files hold it, and the arrays of the compiled network.
#ifndef EPROP_BRIAN_SESSION_H
#define EPROP_BRIAN_SESSION_H

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "../arrays.h"
#include "archive.h"
#include "description.h"
#include "random.h"
#include "trials.h"

namespace eprop_brian
{
// All that learning changes: weights, states of the optimizer, the number of updates.
struct State
{
    std::map<std::string, std::vector<double>> values;
    std::int64_t n_updates = 0;

    State(const Archive& archive, const Archive& like)
    {
        for (const auto& member : like.members)
        {
            const std::string& name = member.first;
            const Numbers& wanted = member.second;
            if (!archive.has(name) || archive.at(name).shape != wanted.shape)
                throw Error(
                    "the saved state has no '" + name + "' of shape " + wanted.shape_text() +
                    " that this network needs");
            const Numbers& given = archive.at(name);
            if (wanted.is_float())
                values[name] = given.doubles();
            else if (name == "n_updates")
            {
                if (given.is_float() || given.size() != 1)
                    throw Error("the saved state's 'n_updates' is no whole number");
                n_updates = given.integers().at(0);
                if (n_updates < 0 || n_updates > 1000000000)
                    throw Error("the saved state's 'n_updates' is " + std::to_string(n_updates));
            }
            else if (given.is_float() || given.integers() != wanted.integers())
                throw Error("the saved state's '" + name + "' is another network's");
        }
        // Rows of what is kept of earlier steps are found by it.
        const auto clock = values.find("carried.control.clock");
        if (clock != values.end())
            for (const double steps : clock->second)
                if (!(steps >= 0 && steps <= 2000000000 && steps == std::floor(steps)))
                    throw Error("the saved state's 'carried.control.clock' is no number of steps");
    }

    Archive archive(const Archive& like) const
    {
        Archive result = like;
        for (auto& member : result.members)
            if (member.second.is_float())
                member.second = Numbers::of(values.at(member.first), member.second.shape);
            else if (member.first == "n_updates")
                member.second = Numbers::of(n_updates);
        return result;
    }

    bool is_finite() const { return not_finite().empty(); }

    // The first number that is not finite: "'w_in', number 7"; "" if all are.
    std::string not_finite() const
    {
        for (const auto& entry : values)
            for (std::size_t i = 0; i < entry.second.size(); i++)
                if (!std::isfinite(entry.second[i]))
                    return "'" + entry.first + "', number " + std::to_string(i);
        return "";
    }

    double largest_weight() const
    {
        double largest = 0;
        for (const std::string& name : description.weights)
            largest = std::max(largest, largest_of(values.at(name)));
        return largest;
    }

    // Largest change of a weight since a state, relative to the largest weight of its matrix.
    double largest_change(const State& before) const
    {
        double largest = 0;
        for (const std::string& name : description.weights)
        {
            const std::vector<double>&now = values.at(name), &old = before.values.at(name);
            std::vector<double> change(now.size());
            std::transform(
                now.begin(), now.end(), old.begin(), change.begin(),
                [](double a, double b) { return a - b; });
            const double size = std::max(largest_of(old), std::numeric_limits<double>::min());
            largest = std::max(largest, largest_of(change)/size);
        }
        return largest;
    }

    // Whether learning changed nothing.
    bool is_as(const State& other) const
    {
        for (const auto& entry : values)
            if (entry.first.compare(0, 8, "carried.") != 0 &&
                entry.second != other.values.at(entry.first))
                return false;
        return true;
    }

private:
    static double largest_of(const std::vector<double>& values)
    {
        double largest = 0;
        for (const double value : values)
            largest = std::max(largest, std::fabs(value));
        return largest;
    }
};

// What came out of trials.
struct Outcome
{
    std::vector<double> loss, error, rate_hz;
};

inline double mean(const std::vector<double>& values, std::size_t first = 0)
{
    double sum = 0;
    for (std::size_t i = first; i < values.size(); i++)
        sum += values[i];
    return sum/(values.size() - first);
}

class Session
{
public:
    State state;

    Session(Arrays& arrays, const Archive& constants, const Archive& places, const State& state)
        : state(state), arrays(arrays), constants(constants)
    {
        for (const auto& member : places.members)
            this->places[member.first] = member.second.integers();
        for (const StateArray& array : description.state)
        {
            const std::size_t stored = values_of(array.state).size();
            if (const std::vector<std::int64_t>* places = places_of(array))
                check_places(array.array, *places, size(array.array), stored);
            else if (stored != size(array.array))
                throw Error("'" + array.state + "' of the saved state does not fit the network");
        }
        check_places(
            "the readout", this->places.at("readout"), values_of("B").size(),
            values_of(description.readout_weights).size());
    }

    // Weights of a seed, in the order in which eprop_brian draws them.
    void draw_weights(const Ziggurat& ziggurat, std::uint64_t seed)
    {
        Random random(ziggurat, {seed, 0x57});
        for (const Drawn& drawn : description.drawn)
        {
            std::vector<double>& weights = state.values.at(drawn.state);
            for (double& weight : weights)
                weight = drawn.uniform ? -drawn.limit + 2*drawn.limit*random.uniform()
                                       : random.normal()/drawn.divisor;
            for (double& weight : weights)
                weight *= drawn.factor;
            if (drawn.without_diagonal)
                for (int i = 0; i < description.n_recurrent; i++)
                    weights[(std::size_t)i*description.n_recurrent + i] = 0;
            if (drawn.masked)
                for (std::size_t i = 0; i < weights.size(); i++)
                    if (readout_weight(i) == 0)
                        weights[i] = 0;
        }
        follow();
    }

    // Everything that a run reads.
    void prepare(const Trials& trials, int batch_size, bool learning, double learning_rate)
    {
        for (const auto& member : constants.members)
            put_bytes(member.first, member.second.bytes);
        for (const StateArray& array : description.state)
            put_values(array.array, stored(array));
        for (const std::string& array : description.learning_rates)
            put_values(array, std::vector<double>(size(array), learning_rate));
        if (!description.continuous)
            put_values("control.k", {(double)state.n_updates});
        put_values("control.n_trials", {(double)trials.size()});
        put_values("control.batch_size", {(double)batch_size});
        put_values("control.learning", {(double)learning});
        put_values("control.updating", {(double)learning});
        put_values("control.trial", {0});
        put_values("control.step", {0});
        if (description.analog)
            put_values("input_data.x", trials.values);
        else
            put_bytes("input_data.words", raw(trials.words));
        put_values("target_data.y_target", trials.targets);
        put_bytes("trials.pattern", raw(trials.pattern));
        put_bytes("trials.target", raw(trials.target));
        if (description.n_answers > 0)
            put_bytes("period_data.period", raw(trials.periods));
    }

    // What learning changed in the run before.
    void read_state(int n_updates)
    {
        for (const StateArray& array : description.state)
        {
            if (!array.learned)
                continue;
            const std::vector<double> found = get_values(array.array);
            std::vector<double>& values = state.values.at(array.state);
            const std::vector<std::int64_t>* places = places_of(array);
            for (std::size_t i = 0; i < found.size(); i++)
                if (!places)
                    values[i] = found[i];
                else if ((*places)[i] >= 0)
                    values[(*places)[i]] = found[i];
        }
        follow();
        state.n_updates += n_updates;
    }

    Outcome outcome(const Trials& trials) const
    {
        const int n_outputs = description.n_outputs, n_answers = Trials::n_answers();
        const std::vector<double> losses = get_values("outcomes.loss");
        const std::vector<double> outputs = get_values("answers.output");
        const std::vector<double> spikes = get_values("trials.spike_count");
        const double seconds = description.n_steps*description.dt;
        Outcome result;
        for (int trial = 0; trial < trials.size(); trial++)
        {
            double loss = 0, wrong = 0, counted = 0, answers = 0;
            for (int out = 0; out < n_outputs; out++)
                loss += losses[(std::size_t)trial*n_outputs + out];
            for (int answer = 0; answer < n_answers; answer++)
            {
                const int steps = trials.counted(trial, answer);
                counted += steps;
                if (steps == 0)
                    continue;
                const double* own =
                    &outputs[((std::size_t)trial*n_answers + answer)*n_outputs];
                const int given = std::max_element(own, own + n_outputs) - own;
                wrong += given != trials.right_class(trial, answer);
                answers++;
            }
            loss /= description.mean_over_readouts ? n_outputs : 1;
            result.loss.push_back(loss/(description.mean_over_window ? counted : 1));
            result.error.push_back(description.has_error ? wrong/answers : NAN);
            result.rate_hz.push_back(spikes[trial]/(description.n_recurrent*seconds));
        }
        return result;
    }

    // Cosine of the angle between feedback weights and transposed readout weights.
    double alignment() const
    {
        const std::vector<double>& b = state.values.at("B");
        double product = 0, b_square = 0, w_square = 0;
        for (std::size_t i = 0; i < b.size(); i++)
        {
            product += b[i]*readout_weight(i);
            b_square += b[i]*b[i];
        }
        for (const double w : state.values.at(description.readout_weights))
            w_square += w*w;
        const double size = std::sqrt(b_square)*std::sqrt(w_square);
        return size > 0 ? product/size : NAN;
    }

private:
    Arrays& arrays;
    const Archive& constants;
    std::map<std::string, std::vector<std::int64_t>> places;

    const std::vector<double>& values_of(const std::string& name) const
    {
        const auto found = state.values.find(name);
        if (found == state.values.end())
            throw Error("the saved state has no '" + name + "' that this network needs");
        return found->second;
    }

    // Places are -1, padding, or of one of the values that there are.
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

    template <typename T> static std::string raw(const std::vector<T>& values)
    {
        return std::string((const char*)values.data(), sizeof(T)*values.size());
    }

    Array& array(const std::string& name) const
    {
        const Arrays::iterator found = arrays.find(name);
        if (found == arrays.end())
            throw Error("the program has no array " + name + ": src/ and data/ do not fit");
        return found->second;
    }

    char type(const std::string& name) const { return description.types.at(name); }

    std::size_t size(const std::string& name) const
    {
        return array(name).bytes/(type(name) == 'd' ? 8 : 4);
    }

    // What is beyond the end of the values is 0.
    void put_bytes(const std::string& name, std::string bytes) const
    {
        Array& to = array(name);
        if (bytes.size() > to.bytes)
            throw Error("values for " + name + " do not fit");
        bytes.resize(to.bytes, '\0');
        put(to, bytes.data());
    }

    void put_values(const std::string& name, const std::vector<double>& values) const
    {
        switch (type(name))
        {
        case 'd':
            return put_bytes(name, raw(values));
        case 'f':
            return put_bytes(name, raw(std::vector<float>(values.begin(), values.end())));
        default:
            for (const double value : values)
                if (!(value >= INT32_MIN && value <= INT32_MAX))
                    throw Error("values for " + name + " are no whole numbers of 32 bits");
            return put_bytes(name, raw(std::vector<std::int32_t>(values.begin(), values.end())));
        }
    }

    template <typename T> std::vector<double> get(const std::string& name) const
    {
        const Array& from = array(name);
        std::vector<T> values(from.bytes/sizeof(T));
        take(from, values.data());
        return std::vector<double>(values.begin(), values.end());
    }

    std::vector<double> get_values(const std::string& name) const
    {
        switch (type(name))
        {
        case 'd':
            return get<double>(name);
        case 'f':
            return get<float>(name);
        default:
            return get<std::int32_t>(name);
        }
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

    // The readout weight of the pair that entry `i` of B belongs to.
    double readout_weight(std::size_t i) const
    {
        const std::int64_t place = places.at("readout")[i];
        return place < 0 ? 0.0 : state.values.at(description.readout_weights)[place];
    }

    // Symmetric feedback is the transposed readout weights.
    void follow()
    {
        if (!description.feedback_follows)
            return;
        std::vector<double>& b = state.values.at("B");
        for (std::size_t i = 0; i < b.size(); i++)
            b[i] = readout_weight(i);
    }
};
}
#endif
