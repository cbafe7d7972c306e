// The trials of tasks that the program draws itself, as eprop_brian draws them.
#ifndef EPROP_BRIAN_DRAWN_TRIALS_H
#define EPROP_BRIAN_DRAWN_TRIALS_H

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "../philox.h"
#include "archive.h"
#include "data.h"
#include "description.h"
#include "trials.h"

namespace eprop_brian
{
// Bernoulli spikes, found by the gaps between them (eprop_brian/tasks/spikes.py).
class SpikeTrains
{
public:
    explicit SpikeTrains(const Archive& archive)
        : bins(archive.at("bins").integers()), alias(archive.at("gap_alias").integers()),
          kept(archive.at("kept_fraction").doubles()),
          thinned(std::any_of(kept.begin(), kept.end(), [](double one) { return one < 1; }))
    {
        for (const std::int64_t one : archive.at("gap_threshold").integers())
            threshold.push_back(one);
    }

    // Calls spike(trial, position in (step, input)) for every spike.
    template <typename Spike> void draw(Random& random, int n_trials, Spike spike) const
    {
        const std::uint64_t n_bins = bins.size(), n_draws = n_trials*n_bins, none = alias.size() - 1;
        // The bin that the last word led to, counted from 1.
        for (std::uint64_t reached = 0; reached < n_draws;)
        {
            const std::uint64_t word = random.word(), column = word & none;
            const std::uint64_t gap = (word >> 11) < threshold[column] ? column : alias[column];
            reached += std::min(gap + 1, none);
            const double chance = thinned ? random.uniform() : 0;
            const std::uint64_t candidate = reached - 1, trial = candidate/std::max<std::uint64_t>(n_bins, 1);
            const std::uint64_t bin = candidate - trial*n_bins;
            if (candidate < n_draws && gap < none && chance < kept[bin])
                spike((std::size_t)trial, bins[bin]);
        }
    }

private:
    std::vector<std::int64_t> bins, alias;
    std::vector<std::uint64_t> threshold;
    std::vector<double> kept;
    bool thinned;
};

// The keys of the noise of a batch, behind those of others.
inline void append_noise(
    Trials& trials, std::uint64_t seed, const std::string& stream, std::uint64_t index, int size)
{
    const std::vector<std::uint64_t> keys = noise_keys(seed, stream, index, size);
    trials.noise.insert(trials.noise.end(), keys.begin(), keys.end());
}

// Cues on two sides, a delay, an answer (eprop_brian/tasks/evidence_accumulation.py).
class CueTrials : public TrialSource
{
public:
    CueTrials(const Archive& archive, std::uint64_t seed)
        : spikes(archive), seed(seed),
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
        {
            draw(trials, Random(seed, stream, first + i), i*size, size);
            append_noise(trials, seed, stream, first + i, size);
        }
        return trials;
    }

private:
    SpikeTrains spikes;
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
    FrozenTrials(const Archive& archive, std::uint64_t seed) : seed(seed)
    {
        trial.n_patterns = trial.n_targets = 1;
        trial.words.assign(Trials::word_row(), 0);
        Random pattern(seed, "pattern");
        SpikeTrains(archive).draw(pattern, 1, [this](std::size_t, std::int64_t position) {
            const std::size_t step = position/description.n_inputs;
            const int input = position % description.n_inputs;
            trial.words[step*Trials::n_words() + input/32] |= (std::int32_t)(1u << (input % 32));
        });
        // The sine of NumPy and that of the C library may differ in the last digit.
        const bool exported = seed == description.seed || !archive.has("periods");
        trial.targets = exported ? archive.at("targets").doubles()
                                 : sines(archive.at("periods").doubles(), seed);
    }

    // A frozen task has no fresh trials.
    bool has(const std::string& stream) const override { return stream == "train"; }

    Trials batches(
        const std::string& stream, std::uint64_t first, int count, int size) const override
    {
        Trials trials = trial;
        trials.pattern.assign(count*size, 0);
        trials.target.assign(count*size, 0);
        for (int i = 0; i < count; i++)
            append_noise(trials, seed, stream, first + i, size);
        return trials;
    }

private:
    std::uint64_t seed;
    Trials trial;

    static std::vector<double> sines(const std::vector<double>& periods, std::uint64_t seed)
    {
        const int n_outputs = description.n_outputs, n_steps = description.n_steps;
        const double pi = 3.141592653589793;
        Random random(seed, "target");
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

// Episodes in the environment of the network (eprop_brian/tasks/episodes.py): keys, no data.
class EpisodeTrials : public TrialSource
{
public:
    explicit EpisodeTrials(std::uint64_t seed) : seed(seed) {}

    // Training ends with the return of its last episodes, so that there is no test.
    bool has(const std::string& stream) const override { return stream != "test"; }

    int test_batches(const std::string&) const override { return 1; }
    int test_size(const std::string&) const override { return description.n_episodes; }

    Trials batches(
        const std::string& stream, std::uint64_t first, int count, int size) const override
    {
        Trials trials;
        trials.n_patterns = trials.n_targets = 1;
        trials.pattern.assign(count*size, 0);
        trials.target.assign(count*size, 0);
        for (int i = 0; i < count; i++)
            append_noise(trials, seed, stream, first + i, size);
        return trials;
    }

private:
    std::uint64_t seed;
};

// The source of the trials of an exported project's task, and a seed; null if they are recorded.
inline std::unique_ptr<TrialSource> task_trials(const std::string& project, std::uint64_t seed)
{
    if (description.source == "cues")
        return std::unique_ptr<TrialSource>(new CueTrials(own_data(project, "task.npz"), seed));
    if (description.source == "frozen")
        return std::unique_ptr<TrialSource>(new FrozenTrials(own_data(project, "task.npz"), seed));
    if (description.source == "episodes")
        return std::unique_ptr<TrialSource>(new EpisodeTrials(seed));
    return nullptr;
}
}
#endif
