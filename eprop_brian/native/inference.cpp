// A network that only runs trials: inputs from a file, outputs and spikes into files.
//
// The generated header trial.h describes the network.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "common/crc32.h"
#include "common/errors.h"
#include "common/process.h"
#include "npy.h"
#include "philox.h"
#include "program.h"
#include "running.h"
#include "trial.h"

namespace eprop_brian
{
namespace
{
struct Options
{
    std::string inputs, lengths, out, spikes, readouts, network;
};

void print_help()
{
    std::printf(
        "Usage: infer --inputs FILE.npy [OPTIONS]\n\n"
        "Runs a trained spiking network: %d inputs, %d steps a trial, %d outputs.\n\n"
        "  --inputs FILE.npy    %s, shape (trials, %d, %d)\n%s"
        "  --out FILE.npy       mean outputs of the last steps, those that count, (trials, %d)\n"
        "  --readouts FILE.npy  readouts in every step, (trials, %d, %d)\n"
        "  --spikes FILE.npy    spikes of the network, bool (trials, %d, %d)\n"
        "  --network FOLDER     weights and parameters (default: network, beside the program)\n"
        "  -h, --help           this text\n",
        trial::n_inputs, trial::n_steps, trial::n_outputs,
        trial::analog ? "analog values" : "spikes, 0 or 1", trial::n_steps, trial::n_inputs,
        trial::has_lengths
            ? "  --lengths FILE.npy   steps of each trial, (trials,); default: all have all steps\n"
            : "",
        trial::n_outputs, trial::n_steps, trial::n_outputs, trial::n_steps, trial::n_recurrent);
}

// A wrong option ends the program with status 2.
void wrong_option(const std::string& problem)
{
    std::fprintf(stderr, "Error: %s; --help lists all options\n", problem.c_str());
    std::_Exit(2);
}

// No file may be written twice, or over the inputs.
void check_places(const Options& options)
{
    const std::string* const given[] = {
        &options.inputs, &options.lengths, &options.out, &options.readouts, &options.spikes};
    for (const auto& one : given)
        for (const auto& other : given)
            if (&one < &other && !one->empty() && !other->empty() &&
                real_path(*one) == real_path(*other))
                wrong_option("two options name the file " + *one);
}

Options read_options(const std::vector<std::string>& arguments)
{
    Options options;
    std::map<std::string, std::string*> known = {
        {"--inputs", &options.inputs},
        {"--out", &options.out},
        {"--spikes", &options.spikes},
        {"--readouts", &options.readouts},
        {"--network", &options.network}};
    if (trial::has_lengths)
        known["--lengths"] = &options.lengths;
    for (std::size_t i = 0; i < arguments.size(); i++)
    {
        if (arguments[i] == "-h" || arguments[i] == "--help")
        {
            print_help();
            std::fflush(stdout);
            std::_Exit(0);
        }
        const std::size_t equals = arguments[i].find('=');
        const std::string name = arguments[i].substr(0, equals);
        const auto found = known.find(name);
        if (found == known.end())
            wrong_option("no such option: " + arguments[i]);
        const bool joined = equals != std::string::npos;
        if (!joined &&
            (i + 1 == arguments.size() || arguments[i + 1].compare(0, 2, "--") == 0))
            wrong_option(name + " needs a value");
        *found->second = joined ? arguments[i].substr(equals + 1) : arguments[++i];
    }
    if (options.inputs.empty())
        wrong_option("--inputs is missing");
    if (options.out.empty() && options.spikes.empty() && options.readouts.empty())
        wrong_option("there is nothing to write: give --out, --readouts or --spikes");
    check_places(options);
    return options;
}

// The trials of a file, one after the other.
class Trials
{
public:
    explicit Trials(const Options& options) : inputs(options.inputs)
    {
        const Shape& shape = inputs.header.shape;
        if (shape.size() != 3 || shape[1] != trial::n_steps || shape[2] != trial::n_inputs)
            inputs.wrong("has the shape " + shape_text(shape) + ", not (trials, " +
                std::to_string(trial::n_steps) + ", " + std::to_string(trial::n_inputs) + ")");
        n_trials = shape[0];
        read_lengths(options.lengths);
        const std::string folder =
            options.network.empty() ? folder_of(program_path("infer")) + "/network"
                                    : options.network;
        for (const trial::Given& given : trial::given)
            read_array(folder, given);
        set<std::int32_t>("control.n_trials", 1);
        if (!options.out.empty())
            out.reset(new NpyWriter(options.out, "<f8", {n_trials, trial::n_outputs}));
        if (!options.readouts.empty())
            readouts.reset(new NpyWriter(
                options.readouts, "<f8", {n_trials, trial::n_steps, trial::n_outputs}));
        if (!options.spikes.empty())
            spikes.reset(new NpyWriter(
                options.spikes, "|b1", {n_trials, trial::n_steps, trial::n_recurrent}));
    }

    // Run all trials; false if a signal ended it.
    bool run()
    {
        for (std::size_t i = 0; i < n_trials; i++)
        {
            set<std::int32_t>("control.trial", 0);
            set<std::int32_t>("control.step", 0);
            if (trial::has_lengths)
                set<std::int32_t>("trials.length", lengths[i]);
            set_noise();
            const std::vector<double> values = inputs.read(trial::n_steps*trial::n_inputs);
            if (trial::analog)
                set_values(values);
            else
                set_spikes(values);
            run_network();
            if (stopping())
                return false;
            write_outcome(lengths[i]);
        }
        for (NpyWriter* writer : {out.get(), readouts.get(), spikes.get()})
            if (writer)
                writer->finish();
        return true;
    }

private:
    template <typename T> void set(const std::string& name, T value)
    {
        set_array(name, &value);
    }

    template <typename T> std::vector<T> get(const std::string& name)
    {
        std::vector<T> values(array_bytes(name)/sizeof(T));
        get_array(name, values.data());
        return values;
    }

    // Steps of each trial; a readout has whole steps of its own.
    void read_lengths(const std::string& path)
    {
        lengths.assign(n_trials, trial::n_steps);
        if (path.empty())
            return;
        NpyReader file(path);
        if (file.header.shape != Shape{n_trials})
            file.wrong(
                "has the shape " + shape_text(file.header.shape) + ", not that of the trials, " +
                shape_text({n_trials}));
        const std::vector<double> steps = file.read(n_trials);
        for (std::size_t i = 0; i < n_trials; i++)
        {
            if (!(steps[i] >= 1 && steps[i] <= trial::n_steps) || steps[i] != std::floor(steps[i]))
                file.wrong(
                    "must hold whole numbers of steps, 1 to " + std::to_string(trial::n_steps));
            lengths[i] = steps[i];
            for (const trial::Readout& readout : trial::readouts)
                if (lengths[i] % readout.every)
                    file.wrong(
                        "has a trial of " + std::to_string(lengths[i]) +
                        " steps, but a readout takes a step every " +
                        std::to_string(readout.every));
        }
    }

    void read_array(const std::string& folder, const trial::Given& given)
    {
        const std::string name(given.name);
        NpyReader file(folder + "/" + name + ".npy");
        const std::size_t bytes = has_array(name) ? array_bytes(name) : 0;
        if (file.header.type != given.type || shape_text(file.header.shape) != given.shape ||
            file.header.bytes() != bytes)
            file.wrong(
                "does not fit the network, which was compiled for " + std::string(given.type) +
                " of shape " + given.shape);
        std::vector<char> content(bytes);
        file.read_bytes(content.data(), bytes);
        // Which neurons a synapse joins and the like: the network finds its arrays by them.
        if (file.header.type[1] != 'f' && crc32(content.data(), bytes) != given.sum)
            file.wrong("holds other whole numbers than the network was compiled for");
        set_array(name, content.data());
        if (file.header.type[1] != 'f')
            return;
        for (const trial::Real value : get<trial::Real>(name))
            if (!std::isfinite(value))
                file.wrong("holds numbers that are not finite");
    }

    // The key of a trial's noise, as that of trials which are given none in Python.
    void set_noise()
    {
        if (!has_array("trials.noise_low"))
            return;
        const std::uint64_t key = keys.word();
        set<std::uint32_t>("trials.noise_low", key);
        set<std::uint32_t>("trials.noise_high", key >> 32);
    }

    void set_values(const std::vector<double>& values)
    {
        for (const double value : values)
            if (!std::isfinite(value))
                inputs.wrong("holds numbers that are not finite");
        std::vector<trial::Real> x(array_bytes("input_data.x")/sizeof(trial::Real));
        std::copy(values.begin(), values.end(), x.begin());
        set_array("input_data.x", x.data());
    }

    // Spikes are stored as bits, 32 inputs a word.
    void set_spikes(const std::vector<double>& values)
    {
        // Every group of inputs begins with a new word.
        std::vector<std::size_t> bit_of_input;
        std::size_t n_words = 0;
        for (const int size : trial::input_groups)
        {
            for (int i = 0; i < size; i++)
                bit_of_input.push_back(32*n_words + i);
            n_words += (size + 31)/32;
        }
        std::vector<std::uint32_t> words(array_bytes("input_data.words")/sizeof(std::uint32_t));
        for (std::size_t i = 0; i < values.size(); i++)
        {
            if (values[i] != 0 && values[i] != 1)
                inputs.wrong("holds other numbers than 0 and 1, but this network takes spikes");
            const std::size_t step = i/trial::n_inputs, bit = bit_of_input[i%trial::n_inputs];
            if (values[i] != 0)
                words[step*n_words + bit/32] |= (std::uint32_t)1 << bit%32;
        }
        set_array("input_data.words", words.data());
    }

    // After the end of a trial nothing is written but zeros.
    void write_outcome(int length)
    {
        if (out)
        {
            const std::vector<trial::Real> sums = get<trial::Real>("answers.output");
            std::vector<double> means(sums.begin(), sums.begin() + trial::n_outputs);
            std::size_t column = 0;
            for (const trial::Readout& readout : trial::readouts)
                for (int i = 0; i < readout.size; i++)
                    means[column++] /=
                        (std::min(readout.window, length) + readout.every - 1)/readout.every;
            out->write(means.data(), means.size()*sizeof(double));
        }
        if (readouts)
        {
            std::vector<double> values((std::size_t)trial::n_steps*trial::n_outputs);
            std::size_t column = 0;
            for (const trial::Readout& readout : trial::readouts)
            {
                const std::vector<trial::Real> y =
                    get<trial::Real>(std::string(readout.name) + "_history.y");
                for (int step = 0; step < length; step++)
                    for (int i = 0; i < readout.size; i++)
                        values[step*trial::n_outputs + column + i] = y[step*readout.size + i];
                column += readout.size;
            }
            readouts->write(values.data(), values.size()*sizeof(double));
        }
        if (!spikes)
            return;
        std::vector<char> fired((std::size_t)trial::n_steps*trial::n_recurrent);
        std::size_t column = 0;
        for (const trial::Population& population : trial::populations)
        {
            const std::string name(population.name);
            const std::vector<std::int32_t> neurons = get<std::int32_t>(name + "_spikes.neuron");
            // The first entry is the step before the trial's first.
            const std::vector<std::int32_t> first = get<std::int32_t>(name + "_offsets.first");
            for (int step = 0; step < length; step++)
            {
                const std::size_t row = population.reverse_time ? length - 1 - step : step;
                for (std::int32_t i = first[step + 1]; i < first[step + 2]; i++)
                    fired[row*trial::n_recurrent + column + neurons[i]] = 1;
            }
            column += population.size;
        }
        spikes->write(fired.data(), fired.size());
    }

    NpyReader inputs;
    Random keys{0, "noise of trials", 0};
    std::size_t n_trials = 0;
    std::vector<int> lengths;
    std::unique_ptr<NpyWriter> out, readouts, spikes;
};
}
}

int main(int argc, char** argv)
{
    using namespace eprop_brian;
    int status = 1;
    try
    {
        const Options options = read_options(std::vector<std::string>(argv + 1, argv + argc));
        catch_interrupts();
        flush_denormals();
        status = Trials(options).run() ? 0 : 130;
        if (status)
            std::fprintf(stderr, "interrupted; nothing was written\n");
    }
    catch (const Error& error)
    {
        std::fprintf(stderr, "Error: %s\n", error.what());
    }
    catch (const std::bad_alloc&)
    {
        std::fprintf(stderr, "Error: there is not enough memory\n");
    }
    std::fflush(stdout);
    std::_Exit(status);
}
