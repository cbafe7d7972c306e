// Trials: inputs of the network and the answers that it should give.
#ifndef EPROP_BRIAN_TRIALS_H
#define EPROP_BRIAN_TRIALS_H

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "../common/errors.h"
#include "../philox.h"
#include "description.h"
#include "labels.h"

namespace eprop_brian
{
// The keys of the noise of a batch of trials (eprop_brian/tasks/trials.py); none if nothing is drawn.
inline std::vector<std::uint64_t> noise_keys(
    std::uint64_t seed, const std::string& stream, std::uint64_t index, int n_trials)
{
    std::vector<std::uint64_t> keys(description.noise ? n_trials : 0);
    Random random(seed, "noise of " + stream, index);
    for (std::uint64_t& key : keys)
        key = random.word();
    return keys;
}

// Trials of one call. Shared inputs and targets are stored once; `description` has their sizes.
struct Trials
{
    // Spikes, 32 inputs a word, or analog values: (patterns, steps, words or inputs).
    std::vector<std::int32_t> words;
    std::vector<double> values;
    std::vector<double> targets;        // (targets, target_steps, outputs)
    std::vector<std::int32_t> periods;  // (targets, steps), if there are several answers
    std::vector<std::int32_t> labels;   // (targets, most_labels), -1 behind the last of each
    std::vector<std::int32_t> pattern, target;
    std::vector<std::int32_t> lengths;  // steps of each trial, if they differ
    // Keys of the random numbers of each trial; none: those of noise_keys.
    std::vector<std::uint64_t> noise;
    int n_patterns = 0, n_targets = 0;

    int size() const { return pattern.size(); }

    static int n_words() { return (description.n_inputs + 31)/32; }
    // Numbers of a row; an episode has none: what it takes in and learns follows from what it does.
    static std::size_t word_row()
    {
        return description.acts ? 0 : (std::size_t)description.n_steps*n_words();
    }
    static std::size_t value_row()
    {
        return description.acts ? 0 : (std::size_t)description.n_steps*description.n_inputs;
    }
    static std::size_t target_row()
    {
        return description.acts ? 0 : (std::size_t)description.target_steps*description.n_outputs;
    }

    // Throws if the vectors do not fit the network, which would read or write beyond arrays.
    void check() const
    {
        const std::size_t patterns = n_patterns, rows = n_targets;
        if (description.analog ? values.size() != patterns*value_row() || !words.empty()
                               : words.size() != patterns*word_row() || !values.empty())
            throw Error("the inputs of the trials do not have the size of their patterns");
        if (targets.size() != rows*target_row())
            throw Error("the targets of the trials do not have the size of their rows");
        if (periods.size() != (description.n_answers ? rows*description.n_steps : 0))
            throw Error("the periods of the trials do not have the size of their targets");
        if (labels.size() != rows*description.most_labels)
            throw Error("the labels of the trials do not have the size of their targets");
        check_range("pattern", pattern, 0, n_patterns - 1);
        check_range("target", target, 0, n_targets - 1);
        check_range("length", lengths, 1, description.n_steps);
        check_range("period", periods, 0, description.n_answers);
        check_labels();
        if (pattern.size() != target.size())
            throw Error("the trials need a pattern and a target each");
        check_lengths();
        if (!noise.empty() && noise.size() != pattern.size())
            throw Error("the trials need a key of their noise each, or none has one");
        for (std::size_t i = n_words() - 1; i < words.size(); i += n_words())
            if ((std::uint32_t)words[i] & beyond_inputs())
                throw Error("the words of the trials have spikes beyond the inputs");
    }

    // Throws if a trial ends within a step of a readout, or before steps that count.
    void check_lengths() const
    {
        if (lengths.size() != (description.has_lengths ? pattern.size() : 0))
            throw Error("the trials need a length each, if those of this network have one");
        for (std::size_t trial = 0; trial < lengths.size(); trial++)
        {
            const std::string which = "trial " + std::to_string(trial) + " has " +
                                      std::to_string(lengths[trial]) + " steps, ";
            for (const Readout& readout : description.readouts)
                if (lengths[trial] % readout.every)
                    throw Error(
                        which + "but a readout takes a step every " +
                        std::to_string(readout.every));
            for (int step = lengths[trial]; description.n_answers && step < description.n_steps;
                 step++)
                if (periods[(std::size_t)target[trial]*description.n_steps + step])
                    throw Error(which + "but its periods count later ones");
        }
    }

    // Throws if labels cannot be shown, which would make a loss of them infinite.
    void check_labels() const
    {
        const int most = description.most_labels, n_steps = description.n_steps;
        for (const Readout& readout : description.readouts)
            for (int row = 0; most && readout.of_labels && row < n_targets; row++)
            {
                const std::string wrong = wrong_labels(
                    &labels[(std::size_t)row*most], most, &periods[(std::size_t)row*n_steps],
                    n_steps, readout.size - 1);
                if (!wrong.empty())
                    throw Error("target " + std::to_string(row) + " of the trials: " + wrong);
            }
    }

    // Bits of the last word of a step that belong to no input; there, a spike would be written.
    static std::uint32_t beyond_inputs()
    {
        const int left = description.n_inputs % 32;
        return left ? ~(std::uint32_t)0 << left : 0;
    }

    // Some of the trials, with only the patterns and targets that they use.
    Trials part(const std::vector<std::size_t>& which) const
    {
        Trials some;
        std::map<int, int> patterns_taken, targets_taken;
        const std::vector<std::uint64_t> keys = noise_of_all();
        for (const std::size_t trial : which)
        {
            const int p = pattern[trial], t = target[trial];
            if (patterns_taken.emplace(p, some.n_patterns).second)
            {
                take(some.words, words, p, word_row());
                take(some.values, values, p, value_row());
                some.n_patterns++;
            }
            if (targets_taken.emplace(t, some.n_targets).second)
            {
                take(some.targets, targets, t, target_row());
                take(some.periods, periods, t, description.n_steps);
                take(some.labels, labels, t, description.most_labels);
                some.n_targets++;
            }
            some.pattern.push_back(patterns_taken[p]);
            some.target.push_back(targets_taken[t]);
            if (description.noise)
                some.noise.push_back(keys[trial]);
            if (description.has_lengths)
                some.lengths.push_back(lengths[trial]);
        }
        return some;
    }

    Trials part(std::size_t first, std::size_t last) const
    {
        std::vector<std::size_t> which;
        for (std::size_t trial = first; trial < last; trial++)
            which.push_back(trial);
        return part(which);
    }

    // Keys of the noise of all trials, if random numbers are drawn.
    std::vector<std::uint64_t> noise_of_all() const
    {
        return noise.empty() ? noise_keys(0, "trials", 0, size()) : noise;
    }

    static int n_answers() { return std::max(1, description.n_answers); }

    int steps(int trial) const
    {
        return description.has_lengths ? lengths[trial] : description.n_steps;
    }

    // Steps of a readout that count for an answer of a trial, each of which is at the last of some
    // of the network.
    int counted(int trial, int answer, const Readout& readout) const
    {
        const int every = readout.every;
        if (description.n_answers == 0)
            return (std::min(readout.window, steps(trial)) + every - 1)/every;
        const std::size_t row = (std::size_t)target[trial]*description.n_steps;
        int count = 0;
        for (int step = every - 1; step < description.n_steps; step += every)
            count += periods[row + step] == answer + 1;
        return count;
    }

    // The labels of a trial.
    std::vector<int> labels_of(int trial) const
    {
        const std::size_t most = description.most_labels;
        return present_labels(labels.data() + target[trial]*most, most);
    }

    // What the error of a trial counts in a mean: its labels, or else 1.
    double weight(int trial) const
    {
        return description.most_labels ? std::max<int>(1, labels_of(trial).size()) : 1;
    }

    // The right class: the largest of a readout's targets over the steps that count for an answer.
    int right_class(int trial, int answer, const Readout& readout) const
    {
        std::vector<double> sums(readout.size, 0.0);
        const double* rows = &targets[target[trial]*target_row() + readout.first];
        for (int step = 0; step < steps(trial); step++)
        {
            const bool counts =
                description.n_answers == 0
                    ? step >= steps(trial) - readout.window
                    : periods[(std::size_t)target[trial]*description.n_steps + step] == answer + 1;
            const int row = description.target_steps == 1 ? 0 : step;
            for (int out = 0; counts && out < readout.size; out++)
                sums[out] += rows[row*description.n_outputs + out];
        }
        return std::max_element(sums.begin(), sums.end()) - sums.begin();
    }

    // The words as a network has them: every group of inputs begins with a new one.
    std::vector<std::int32_t> words_by_group() const
    {
        if (description.input_groups.size() == 1)
            return words;
        std::vector<std::int32_t> result;
        for (std::size_t row = 0; row < words.size(); row += n_words())
        {
            int first = 0;
            for (const int size : description.input_groups)
            {
                for (int i = 0; i < size; i++)
                {
                    if (i % 32 == 0)
                        result.push_back(0);
                    const std::uint32_t word = words[row + (first + i)/32];
                    const std::uint32_t bit = word >> (first + i) % 32 & 1;
                    result.back() |= (std::int32_t)(bit << i % 32);
                }
                first += size;
            }
        }
        return result;
    }

private:
    static void check_range(
        const std::string& name, const std::vector<std::int32_t>& numbers, int first, int last)
    {
        for (const std::int32_t number : numbers)
            if (number < first || number > last)
                throw Error(
                    "a " + name + " of the trials is " + std::to_string(number) + ", not from " +
                    std::to_string(first) + " to " + std::to_string(last));
    }

    template <typename T>
    static void take(std::vector<T>& to, const std::vector<T>& from, int row, std::size_t width)
    {
        if (!from.empty())
            to.insert(to.end(), from.begin() + row*width, from.begin() + (row + 1)*width);
    }
};

// The stream of the trials that confirm a validation.
inline std::string confirmation_of(const std::string& validation) { return validation + " again"; }

inline bool is_confirmation(const std::string& stream)
{
    const std::string end = confirmation_of("");
    return stream.size() > end.size() &&
           stream.compare(stream.size() - end.size(), end.size(), end) == 0;
}

// Where trials come from. A stream is "train", "test", ...; an index counts its batches.
class TrialSource
{
public:
    virtual ~TrialSource() {}

    // `count` batches of `size` trials, one after the other.
    virtual Trials batches(
        const std::string& stream, std::uint64_t first, int count, int size) const = 0;

    // Trials of a training batch, at most description.batch_size.
    virtual int batch_size(std::uint64_t) const { return description.batch_size; }

    // Whether the source has fresh trials of a stream.
    virtual bool has(const std::string& stream) const = 0;

    // Numbers of test batches, and of trials in each.
    virtual int test_batches(const std::string& stream) const
    {
        return is_confirmation(stream) ? description.confirmation_batches
                                       : description.validation_batches;
    }
    virtual int test_size(const std::string&) const { return description.validation_batch_size; }
};
}
#endif
