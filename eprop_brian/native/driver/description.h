// What there is to know of a network and its task, beside the numbers in data/.
#ifndef EPROP_BRIAN_DESCRIPTION_H
#define EPROP_BRIAN_DESCRIPTION_H

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace eprop_brian
{
// An array of the program that belongs to the state of training.
struct StateArray
{
    std::string array;   // "group.variable"
    std::string state;   // name in the files
    std::string places;  // where its values stand there: an array of places.npz, "" for all in order
    bool learned;        // whether the program changes it
};

// Weights that a seed begins with: normal numbers over `divisor`, uniform ones between -+ `limit`, or
// given ones.
struct Drawn
{
    std::string state;
    bool uniform;
    double divisor, limit;
    double factor;           // that either is multiplied by
    double sign;             // of all, 1 or -1; 0: they have either
    bool without_diagonal;   // no synapse from a neuron to itself
    bool masked;             // feedback: only where the readout weights are
    bool given;              // those of data/start/initial.npz
};

struct Description
{
    std::string task, source;  // kind of source of trials: "cues", "frozen" or "recorded"
    std::uint64_t seed;
    int iterations;
    int n_steps, n_inputs, n_outputs, n_recurrent, learning_window;
    double dt;
    int batch_size, iterations_per_call, check_every;
    int validation_batches, validation_batch_size, confirmation_batches;
    // What the program reserves.
    int n_trials, n_patterns, n_targets, target_steps, n_answers;
    bool analog;
    // The error of the task; a threshold of 0 means that it has none.
    bool has_error;
    double error_threshold;
    // The loss.
    bool mean_over_readouts, mean_over_window;
    bool continuous;        // without trials: the optimizer does not count updates
    bool feedback_follows;  // the feedback weights are the transposed readout weights
    double learning_rate;
    std::vector<std::string> learning_rates;  // arrays that hold it
    std::map<std::string, char> types;        // of arrays: d, f (floats) or i (int32)
    std::vector<StateArray> state;
    std::vector<std::string> weights;         // names of weights and learned parameters
    std::vector<Drawn> drawn;
    std::string readout, readout_weights, feedback_weights;  // names, of weights those of the state
    std::vector<std::string> copied;   // files of a run that stay as they are
    std::map<std::string, std::uint32_t> sums;  // CRC32 of files in data/
};

// Written by eprop-brian export: src/driver/network_description.cpp.
extern const Description description;
}
#endif
