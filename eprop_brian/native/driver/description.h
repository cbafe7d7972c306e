// What there is to know of a network and its task, beside the numbers in data/.
#ifndef EPROP_BRIAN_DESCRIPTION_H
#define EPROP_BRIAN_DESCRIPTION_H

#include <cmath>
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
    int diagonal;            // rows of a matrix without synapses from a neuron to itself; 0: with them
    int masked;              // feedback: the signal that is only where the readout weights are; or -1
    bool given;              // those of data/start/initial.npz
};

// Outputs with a loss of their own.
struct Readout
{
    int first, size;         // among all outputs
    int window;              // last steps of a trial that count
    int every;               // steps of the network in one of the readout
    bool mean_over_readouts, mean_over_window;  // of the loss
    bool judged;             // whether its answers are right or wrong
    bool of_labels;          // whether its loss is one of labels, and its last output the blank
};

// A learning signal whose weights belong to those of a readout.
struct Signal
{
    std::string weights, readout_weights;  // names of the state
    std::string places;      // of the readout weight of each pair: an array of places.npz
    bool follows;            // whether its weights are always the transposed readout weights
};

struct Population
{
    std::string name;
    int size;
    double most_hz;          // the firing rate that refractoriness allows
    bool read;               // whether a readout reads its states, for which it need not fire
};

struct Description
{
    std::string task, source;  // kind of source of trials: "cues", "frozen", "episodes" or "recorded"
    std::uint64_t seed;
    int iterations;
    int n_steps, n_inputs, n_outputs, n_recurrent;
    std::vector<int> input_groups;  // sizes
    double dt;
    int batch_size, iterations_per_call, check_every;
    int validation_batches, validation_batch_size, confirmation_batches;
    // What the program reserves.
    int n_trials, n_patterns, n_targets, target_steps, n_answers, most_labels;
    bool analog;
    bool has_lengths;       // whether trials differ in length
    bool noise;             // whether random numbers are drawn in a trial
    // Whether the network acts in an environment: its trials are episodes.
    bool acts;
    int steps_per_action;
    int n_episodes;         // fresh ones of a test, and the last ones of training that count
    double solved_return;   // the task is solved from this mean return on; NAN: it cannot be
    // The error of the task; a threshold of 0 means that it has none.
    bool has_error;
    double error_threshold;
    std::vector<Population> populations;
    std::vector<Readout> readouts;
    std::vector<Signal> signals;
    bool continuous;        // without trials: the optimizer does not count updates
    double learning_rate;
    std::vector<std::string> learning_rates;  // arrays that hold it
    std::map<std::string, char> types;        // of arrays: d, f (floats) or i (int32)
    std::vector<StateArray> state;
    std::vector<std::string> weights;         // names of weights and learned parameters
    std::vector<Drawn> drawn;
    std::vector<std::string> copied;   // files of a run that stay as they are
    std::map<std::string, std::uint32_t> sums;  // CRC32 of files in data/
};

// Written by eprop-brian export: src/driver/network_description.cpp.
extern const Description description;
}
#endif
