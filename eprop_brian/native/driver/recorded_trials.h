// Trials from files.
#ifndef EPROP_BRIAN_RECORDED_TRIALS_H
#define EPROP_BRIAN_RECORDED_TRIALS_H

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "../common/crc32.h"
#include "../common/errors.h"
#include "../common/process.h"
#include "archive.h"
#include "description.h"
#include "files.h"
#include "trials.h"

namespace eprop_brian
{
// Trials from files; batches use them in order and start over at their end. A file may name the size
// of each of its batches.
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
                "1 trial is not enough to validate: give at least 2, of which some validate and the "
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
        Trials trials = all.part(which);
        // Where a stream starts over, its trials have other noise.
        for (std::size_t i = 0; i < trials.noise.size(); i++)
            trials.noise[i] += (begin + i)/all.size();
        return trials;
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
    // Sizes and beginnings of the training batches; empty if all batches have the same size.
    std::vector<std::size_t> sizes, begins;
    std::size_t without_sizes = 0;

    void append_sizes(const std::string& path)
    {
        const Archive archive = Archive::read(path);
        const std::size_t n_trials = archive.at("pattern").size();
        without_sizes += !archive.has("batches");
        if (without_sizes > 0 && (archive.has("batches") || !sizes.empty()))
            throw Error(
                path + ": either all files of trials or none must have an array 'batches', the "
                "sizes of their batches");
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
        append_lengths(path, to, archive);
        append_noise(path, to, archive);
        to.n_patterns += n_patterns;
        to.n_targets += n_targets;
        if (archive.has("periods") != (description.n_answers > 0))
            throw Error(
                path + (description.n_answers > 0 ? ": the array 'periods' is missing, which says "
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
        append_labels(path, to, archive, n_targets);
    }

    static void append_labels(
        const std::string& path, Trials& to, const Archive& archive, std::size_t n_targets)
    {
        const std::size_t most = description.most_labels;
        if (most == 0)
            return;
        if (!archive.has("labels"))
            throw Error(path + ": the array 'labels' is missing, which says what trials show");
        const Numbers& labels = archive.at("labels");
        if (labels.shape != std::vector<std::size_t>{n_targets, most} || labels.is_float())
            throw Error(
                path + ": labels must be whole numbers of shape (targets, " +
                std::to_string(most) + "), not " + labels.type + " " + labels.shape_text());
        for (const std::int64_t label : labels.integers())
            to.labels.push_back(label);
    }

    // Steps of each trial; those of a file without them have all.
    static void append_lengths(const std::string& path, Trials& to, const Archive& archive)
    {
        const std::string all = std::to_string(description.n_steps) + " steps";
        if (!description.has_lengths && archive.has("lengths"))
            throw Error(
                path + ": all trials of this network have " + all + ": leave 'lengths' away");
        if (!description.has_lengths)
            return;
        if (!archive.has("lengths"))
        {
            to.lengths.resize(to.pattern.size(), description.n_steps);
            return;
        }
        const Numbers& lengths = archive.at("lengths");
        if (lengths.shape != std::vector<std::size_t>{to.pattern.size() - to.lengths.size()} ||
            lengths.is_float())
            throw Error(path + ": lengths must be whole numbers of shape (trials,)");
        for (const std::int64_t length : lengths.integers())
        {
            if (length < 1 || length > description.n_steps)
                throw Error(path + ": lengths must be from 1 to " + all);
            to.lengths.push_back(length);
        }
    }

    // Keys of the noise; a file without them has those of trials that are given none.
    static void append_noise(const std::string& path, Trials& to, const Archive& archive)
    {
        if (!description.noise)
            return;
        const std::size_t n_before = to.noise.size(), n = to.pattern.size();
        if (!archive.has("noise"))
        {
            const std::vector<std::uint64_t> keys = noise_keys(0, "trials", 0, n);
            to.noise.insert(to.noise.end(), keys.begin() + n_before, keys.end());
            return;
        }
        const Numbers& noise = archive.at("noise");
        if (noise.shape != std::vector<std::size_t>{n - n_before} || noise.is_float())
            throw Error(path + ": noise must be whole numbers of shape (trials,)");
        for (const std::int64_t key : noise.integers())
            to.noise.push_back(key);
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
        const std::uint32_t beyond = Trials::beyond_inputs();
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
