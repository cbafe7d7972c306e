// Trials: what the network sees and what it should answer.
#ifndef EPROP_BRIAN_TRIALS_H
#define EPROP_BRIAN_TRIALS_H

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "../common/process.h"
#include "archive.h"
#include "description.h"
#include "random.h"

namespace eprop_brian
{
// Trials of one call. What several share is stored once; rows are those of `description`.
struct Trials
{
    // Spikes, 32 inputs a word, or analog values: (patterns, steps, words or inputs).
    std::vector<std::int32_t> words;
    std::vector<double> values;
    std::vector<double> targets;        // (targets, target_steps, outputs)
    std::vector<std::int32_t> periods;  // (targets, steps), if there are several answers
    std::vector<std::int32_t> pattern, target;
    int n_patterns = 0, n_targets = 0;

    int size() const { return pattern.size(); }

    static int n_words() { return (description.n_inputs + 31)/32; }
    static std::size_t word_row() { return (std::size_t)description.n_steps*n_words(); }
    static std::size_t value_row()
    {
        return (std::size_t)description.n_steps*description.n_inputs;
    }
    static std::size_t target_row()
    {
        return (std::size_t)description.target_steps*description.n_outputs;
    }

    // Some of the trials, with only the patterns and targets that they use.
    Trials part(const std::vector<std::size_t>& which) const
    {
        Trials some;
        std::map<int, int> patterns_taken, targets_taken;
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
                some.n_targets++;
            }
            some.pattern.push_back(patterns_taken[p]);
            some.target.push_back(targets_taken[t]);
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

    static int n_answers() { return std::max(1, description.n_answers); }

    // Steps that count for an answer of a trial.
    int counted(int trial, int answer) const
    {
        if (description.n_answers == 0)
            return description.learning_window;
        const auto row = periods.begin() + (std::size_t)target[trial]*description.n_steps;
        return std::count(row, row + description.n_steps, answer + 1);
    }

    // The right class: the largest of the targets over the steps that count for an answer.
    int right_class(int trial, int answer) const
    {
        std::vector<double> sums(description.n_outputs, 0.0);
        const double* rows = &targets[target[trial]*target_row()];
        for (int step = 0; step < description.n_steps; step++)
        {
            const bool counts =
                description.n_answers == 0
                    ? step >= description.n_steps - description.learning_window
                    : periods[(std::size_t)target[trial]*description.n_steps + step] == answer + 1;
            const int row = description.target_steps == 1 ? 0 : step;
            for (int out = 0; counts && out < description.n_outputs; out++)
                sums[out] += rows[row*description.n_outputs + out];
        }
        return std::max_element(sums.begin(), sums.end()) - sums.begin();
    }

private:
    template <typename T>
    static void take(std::vector<T>& to, const std::vector<T>& from, int row, std::size_t width)
    {
        if (!from.empty())
            to.insert(to.end(), from.begin() + row*width, from.begin() + (row + 1)*width);
    }
};

// The stream of the trials that confirm what those of a validation say.
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

    // Trials of a batch to learn from: as many as are asked for, or fewer.
    virtual int batch_size(std::uint64_t) const { return description.batch_size; }

    // Whether the source has fresh trials of a stream.
    virtual bool has(const std::string& stream) const = 0;

    // Fresh trials to test on: so many batches, of so many trials.
    virtual int test_batches(const std::string& stream) const
    {
        return is_confirmation(stream) ? description.confirmation_batches
                                       : description.validation_batches;
    }
    virtual int test_size(const std::string&) const { return description.validation_batch_size; }
};

// Bernoulli spikes, found by the gaps between them (eprop_brian/tasks/spikes.py).
class SpikeTrains
{
public:
    explicit SpikeTrains(const Archive& archive)
        : bins(archive.at("bins").integers()), kept(archive.at("kept_fraction").doubles()),
          scale(archive.at("gap_scale").doubles().at(0))
    {
    }

    // Calls found(trial, position in (step, input)) for every spike.
    template <typename Found> void draw(Random& random, int n_trials, Found found) const
    {
        if (bins.empty())
            return;
        // As many gaps at a time as there: what is drawn between them depends on it.
        const int chunk = 8192;
        const double n_draws = (double)n_trials*bins.size();
        double last = -1;
        std::vector<double> reached(chunk);
        while (last < n_draws - 1)
        {
            for (double& place : reached)
            {
                last += std::floor(std::min(random.exponential()*scale, n_draws)) + 1;
                place = last;
            }
            for (const double place : reached)
            {
                if (place >= n_draws)
                    break;
                const std::size_t candidate = place, trial = candidate/bins.size();
                const std::size_t bin = candidate - trial*bins.size();
                if (random.uniform() < kept[bin])
                    found(trial, bins[bin]);
            }
        }
    }

private:
    std::vector<std::int64_t> bins;
    std::vector<double> kept;
    double scale;
};

// Cues on two sides, a delay, an answer (eprop_brian/tasks/evidence_accumulation.py).
class CueTrials : public TrialSource
{
public:
    CueTrials(const Archive& archive, const Ziggurat& ziggurat, std::uint64_t seed)
        : spikes(archive), ziggurat(ziggurat), seed(seed),
          starts(archive.at("cue_starts").integers()),
          group_size(archive.at("group_size").integers().at(0)),
          p_favoured(archive.at("p_favoured").doubles().at(0))
    {
    }

    bool has(const std::string&) const override { return true; }

    Trials batches(
        const std::string& stream, std::uint64_t first, int count, int size) const override
    {
        Trials trials;
        trials.targets = {1, 0, 0, 1};
        trials.n_targets = 2;
        trials.n_patterns = count*size;
        trials.words.assign(trials.n_patterns*Trials::word_row(), 0);
        for (int i = 0; i < count; i++)
            draw(trials, Random::of(ziggurat, seed, stream, first + i), i*size, size);
        return trials;
    }

private:
    SpikeTrains spikes;
    const Ziggurat& ziggurat;
    std::uint64_t seed;
    std::vector<std::int64_t> starts;
    int group_size;
    double p_favoured;

    void draw(Trials& trials, Random random, int first, int size) const
    {
        const int n_cues = starts.size(), n_inputs = description.n_inputs;
        std::vector<int> favoured(size), cues(size*n_cues);
        for (int& side : favoured)
            side = random.below(2);
        for (int i = 0; i < size*n_cues; i++)
        {
            const int side = favoured[i/n_cues];
            cues[i] = random.uniform() < p_favoured ? side : 1 - side;
        }
        for (int trial = 0; trial < size; trial++)
        {
            const auto own = cues.begin() + trial*n_cues;
            trials.pattern.push_back(first + trial);
            trials.target.push_back(std::count(own, own + n_cues, 1) > n_cues/2);
        }
        // Drawn as if all cues were on the left; those on the right then change group.
        spikes.draw(random, size, [&](std::size_t trial, std::int64_t position) {
            const int step = position/n_inputs;
            int input = position % n_inputs;
            if (input < group_size)
            {
                const int cue =
                    std::upper_bound(starts.begin(), starts.end(), step) - starts.begin() - 1;
                input += group_size*cues[trial*n_cues + cue];
            }
            const std::size_t row = (first + trial)*Trials::word_row();
            trials.words[row + step*Trials::n_words() + input/32] |=
                (std::int32_t)(1u << (input % 32));
        });
    }
};

// One frozen trial a seed (eprop_brian/tasks/frozen.py). Its target is the same for all seeds, or a
// sum of sines (eprop_brian/tasks/pattern_generation.py).
class FrozenTrials : public TrialSource
{
public:
    FrozenTrials(const Archive& archive, const Ziggurat& ziggurat, std::uint64_t seed)
    {
        trial.n_patterns = trial.n_targets = 1;
        trial.words.assign(Trials::word_row(), 0);
        Random pattern = Random::of(ziggurat, seed, "pattern");
        SpikeTrains(archive).draw(pattern, 1, [this](std::size_t, std::int64_t position) {
            const std::size_t step = position/description.n_inputs;
            const int input = position % description.n_inputs;
            trial.words[step*Trials::n_words() + input/32] |= (std::int32_t)(1u << (input % 32));
        });
        // The sine of NumPy and that of the C library may differ in the last digit.
        const bool own = seed == description.seed || !archive.has("periods");
        trial.targets = own ? archive.at("targets").doubles()
                            : sines(archive.at("periods").doubles(), ziggurat, seed);
    }

    // There are no fresh ones.
    bool has(const std::string& stream) const override { return stream == "train"; }

    Trials batches(const std::string&, std::uint64_t, int count, int size) const override
    {
        Trials trials = trial;
        trials.pattern.assign(count*size, 0);
        trials.target.assign(count*size, 0);
        return trials;
    }

private:
    Trials trial;

    static std::vector<double> sines(
        const std::vector<double>& periods, const Ziggurat& ziggurat, std::uint64_t seed)
    {
        const int n_outputs = description.n_outputs, n_steps = description.n_steps;
        const double pi = 3.141592653589793;
        Random random = Random::of(ziggurat, seed, "target");
        std::vector<double> amplitude(periods.size()*n_outputs), phase(amplitude.size());
        for (double& one : amplitude)
            one = 0.5 + 1.5*random.uniform();
        for (double& one : phase)
            one = 2*pi*random.uniform();
        std::vector<double> signals((std::size_t)n_steps*n_outputs, 0.0);
        for (int out = 0; out < n_outputs; out++)
        {
            double first = 0, largest = 0;
            for (int step = 0; step < n_steps; step++)
            {
                double sum = 0;
                for (std::size_t k = 0; k < periods.size(); k++)
                {
                    const std::size_t own = k*n_outputs + out;
                    sum += amplitude[own]*std::sin(2*pi*step/periods[k] + phase[own]);
                }
                if (step == 0)
                    first = sum;
                signals[(std::size_t)step*n_outputs + out] = sum - first;
                largest = std::max(largest, std::fabs(sum - first));
            }
            for (int step = 0; step < n_steps; step++)
                signals[(std::size_t)step*n_outputs + out] /= largest;
        }
        return signals;
    }
};

// Trials from files; batches go through them in order, and begin anew at their end. A file may say
// how many trials each of its batches has.
class RecordedTrials : public TrialSource
{
public:
    // Files by stream; "validation 10" and so on take the first third of those of "validation", and
    // what confirms them the others.
    explicit RecordedTrials(const std::map<std::string, std::vector<std::string>>& files)
    {
        for (const auto& entry : files)
            for (const std::string& path : entry.second)
                append(streams[entry.first], path);
        for (const std::string& path : files.at("train"))
            append_sizes(path);
        if (!has("validation"))
            return;
        const Trials all = streams.at("validation");
        const std::size_t n = all.size();
        if (n < 2)
            throw Error(
                "there is 1 trial to validate on: give at least 2, of which some validate and the "
                "others confirm");
        const std::size_t third = std::max<std::size_t>(1, n/3);
        streams["validation"] = all.part(0, third);
        streams["confirmation"] = all.part(third, n);
    }

    // Which files: a line "CRC32 path" each.
    static std::string text_of(const std::vector<std::string>& paths)
    {
        std::string text;
        for (const std::string& path : paths)
        {
            const std::string file = read_file(path);
            char sum[16];
            std::snprintf(sum, sizeof sum, "%08x", (unsigned)crc32(file.data(), file.size()));
            text += std::string(sum) + " " + real_path(path) + "\n";
        }
        return text;
    }

    bool has(const std::string& stream) const override { return streams.count(name(stream)); }

    Trials batches(
        const std::string& stream, std::uint64_t first, int count, int size) const override
    {
        const Trials& all = streams.at(name(stream));
        std::vector<std::size_t> which;
        const bool by_batch = stream == "train" && !sizes.empty();
        const std::uint64_t begin = by_batch ? begins[first % sizes.size()] : first*size;
        for (std::uint64_t i = begin; i < begin + (std::uint64_t)count*size; i++)
            which.push_back(i % all.size());
        return all.part(which);
    }

    int batch_size(std::uint64_t index) const override
    {
        return sizes.empty() ? description.batch_size : sizes[index % sizes.size()];
    }

    int test_batches(const std::string&) const override { return 1; }
    int test_size(const std::string& stream) const override
    {
        return streams.at(name(stream)).size();
    }

private:
    std::map<std::string, Trials> streams;
    // Trials of the batches to learn from, and where they begin; none where all are alike.
    std::vector<std::size_t> sizes, begins;
    std::size_t without_sizes = 0;

    void append_sizes(const std::string& path)
    {
        const Archive archive = Archive::read(path);
        const std::size_t n_trials = archive.at("pattern").size();
        without_sizes += !archive.has("batches");
        if (without_sizes > 0 && (archive.has("batches") || !sizes.empty()))
            throw Error(
                path + ": either all files of trials say how many their batches have, in an array "
                "'batches', or none");
        if (!archive.has("batches"))
            return;
        const Numbers& batches = archive.at("batches");
        if (batches.shape.size() != 1 || batches.is_float())
            throw Error(path + ": batches must be whole numbers of shape (batches,)");
        std::size_t sum = 0;
        for (const std::int64_t size : batches.integers())
        {
            if (size < 1 || size > description.batch_size)
                throw Error(
                    path + ": a batch has " + std::to_string(size) + " trials; this program takes "
                    "1 to " + std::to_string(description.batch_size));
            begins.push_back(begins.empty() ? 0 : begins.back() + sizes.back());
            sizes.push_back(size);
            sum += size;
        }
        if (sum != n_trials)
            throw Error(
                path + ": batches have " + std::to_string(sum) + " trials in all, the file has " +
                std::to_string(n_trials));
    }

    static std::string name(const std::string& stream)
    {
        if (is_confirmation(stream))
            return "confirmation";
        return stream.substr(0, stream.find(' '));
    }

    static void append(Trials& to, const std::string& path)
    {
        const Archive archive = Archive::read(path);
        const std::size_t n_steps = description.n_steps;
        const bool packed = archive.has("words");
        const Numbers& inputs = archive.at(packed ? "words" : "inputs");
        if (packed && (inputs.type != "<i4" || description.analog))
            throw Error(
                path + ": words are spikes, 32 inputs in an int32" +
                (description.analog ? "; this network takes analog inputs" : ""));
        if (!packed && inputs.is_float() != description.analog)
            throw Error(
                path + ": inputs must be " +
                (description.analog ? "floats, the analog values" : "bool, the spikes") +
                " of this network, not " + inputs.type);
        const std::size_t width = packed ? Trials::n_words() : description.n_inputs;
        const std::size_t n_patterns = rows(path, packed ? "words" : "inputs", inputs, n_steps, width);
        const Numbers& targets = archive.at("targets");
        const std::size_t n_targets =
            rows(path, "targets", targets, description.target_steps, description.n_outputs);
        if (packed)
            append_words(path, to.words, inputs.integers());
        else if (description.analog)
            append_finite(path, "inputs", to.values, inputs.doubles());
        else
            append_spikes(path, to.words, inputs.integers());
        append_finite(path, "targets", to.targets, targets.doubles());
        append_rows(path, "pattern", to.pattern, archive.at("pattern"), n_patterns, to.n_patterns);
        append_rows(path, "target", to.target, archive.at("target"), n_targets, to.n_targets);
        if (to.pattern.size() != to.target.size())
            throw Error(path + ": pattern and target must name the same trials");
        to.n_patterns += n_patterns;
        to.n_targets += n_targets;
        if (archive.has("periods") != (description.n_answers > 0))
            throw Error(
                path + (description.n_answers > 0 ? ": there is no array 'periods', which says "
                                                    "which steps count for which answer"
                                                  : ": this network's task has no periods"));
        if (description.n_answers == 0)
            return;
        const Numbers& periods = archive.at("periods");
        if (periods.shape != std::vector<std::size_t>{n_targets, n_steps} || periods.is_float())
            throw Error(
                path + ": periods must be whole numbers of shape (targets, " +
                std::to_string(n_steps) + "), not " + periods.type + " " + periods.shape_text());
        const std::vector<std::int64_t> steps = periods.integers();
        for (const std::int64_t period : steps)
        {
            if (period < 0 || period > description.n_answers)
                throw Error(
                    path + ": periods must be 0 to " + std::to_string(description.n_answers));
            to.periods.push_back(period);
        }
        for (std::size_t target = 0; target < n_targets; target++)
        {
            const auto first = steps.begin() + target*n_steps;
            if (std::count(first, first + n_steps, 0) == (std::ptrdiff_t)n_steps)
                throw Error(
                    path + ": no step of target " + std::to_string(target) +
                    " counts, periods are all 0");
        }
    }

    // The first extent of an array whose others must be these.
    static std::size_t rows(
        const std::string& path, const std::string& name, const Numbers& array,
        std::size_t second, std::size_t third)
    {
        if (array.shape.size() != 3 || array.shape[0] == 0 || array.shape[1] != second ||
            array.shape[2] != third)
            throw Error(
                path + ": " + name + " must have the shape (any, " + std::to_string(second) +
                ", " + std::to_string(third) + "), not " + array.shape_text());
        return array.shape[0];
    }

    static void append_finite(
        const std::string& path, const std::string& name, std::vector<double>& to,
        const std::vector<double>& values)
    {
        for (const double value : values)
            if (!std::isfinite(value))
                throw Error(path + ": " + name + " must be finite");
        to.insert(to.end(), values.begin(), values.end());
    }

    static void append_words(
        const std::string& path, std::vector<std::int32_t>& to,
        const std::vector<std::int64_t>& words)
    {
        // Bits of the last word of a step that belong to no input; there, a spike would be written.
        const int left = description.n_inputs % 32;
        const std::uint32_t beyond = left ? ~(std::uint32_t)0 << left : 0;
        const std::size_t width = Trials::n_words();
        for (std::size_t i = 0; i < words.size(); i++)
        {
            if ((i + 1) % width == 0 && ((std::uint32_t)words[i] & beyond))
                throw Error(
                    path + ": words have spikes beyond the " +
                    std::to_string(description.n_inputs) + " inputs");
            to.push_back((std::int32_t)words[i]);
        }
    }

    static void append_spikes(
        const std::string& path, std::vector<std::int32_t>& to,
        const std::vector<std::int64_t>& spikes)
    {
        const std::size_t width = description.n_inputs;
        for (std::size_t row = 0; row < spikes.size(); row += width)
            for (std::size_t first = 0; first < width; first += 32)
            {
                std::uint32_t word = 0;
                for (std::size_t input = first; input < std::min(first + 32, width); input++)
                {
                    if (spikes[row + input] != 0 && spikes[row + input] != 1)
                        throw Error(path + ": inputs must be 0 or 1, the spikes of a step");
                    word |= (std::uint32_t)spikes[row + input] << (input - first);
                }
                to.push_back((std::int32_t)word);
            }
    }

    static void append_rows(
        const std::string& path, const std::string& name, std::vector<std::int32_t>& to,
        const Numbers& array, std::size_t n_rows, int offset)
    {
        if (array.shape.size() != 1 || array.size() == 0 || array.is_float())
            throw Error(path + ": " + name + " must be whole numbers of shape (trials,)");
        for (const std::int64_t row : array.integers())
        {
            if (row < 0 || row >= (std::int64_t)n_rows)
                throw Error(
                    path + ": " + name + " must hold rows, 0 to " + std::to_string(n_rows - 1) +
                    ", not " + std::to_string(row));
            to.push_back(offset + row);
        }
    }
};
}
#endif
