// The command line.
#ifndef EPROP_BRIAN_OPTIONS_H
#define EPROP_BRIAN_OPTIONS_H

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "description.h"
#include "../common/errors.h"

namespace eprop_brian
{
struct Options
{
    int iterations = 0;                // 0: as configured
    bool has_seed = false;
    std::uint64_t seed = 0;
    std::string learning_rate;         // "": as configured
    std::map<std::string, std::vector<std::string>> trials;  // files by stream
    std::string run;                   // "": beside the program
    bool resume = false, stop = true, quiet = false, help = false;

    explicit Options(const std::vector<std::string>& arguments)
    {
        for (std::size_t i = 0; i < arguments.size(); i++)
        {
            std::string name = arguments[i], value;
            const std::size_t equals = name.find('=');
            const bool joined = name.compare(0, 2, "--") == 0 && equals != std::string::npos;
            if (joined)
            {
                value = name.substr(equals + 1);
                name = name.substr(0, equals);
            }
            if (name == "--resume" || name == "--no-stop" || name == "--quiet" ||
                name == "--help" || name == "-h")
            {
                if (joined)
                    throw UsageError(name + " takes no value");
                resume = resume || name == "--resume";
                stop = stop && name != "--no-stop";
                quiet = quiet || name == "--quiet";
                help = help || name == "--help" || name == "-h";
                continue;
            }
            static const std::map<std::string, std::string> streams = {
                {"--trials", "train"},
                {"--validation-trials", "validation"},
                {"--test-trials", "test"}};
            const auto stream = streams.find(name);
            if (stream == streams.end() && name != "--iterations" && name != "--seed" &&
                name != "--learning-rate" && name != "--run")
                throw UsageError("no such option: " + arguments[i] + "; --help lists them");
            if (!joined)
            {
                if (i + 1 >= arguments.size() || arguments[i + 1].compare(0, 2, "--") == 0)
                    throw UsageError(name + " needs a value");
                value = arguments[++i];
            }
            if (stream != streams.end())
            {
                if (description.acts)
                    throw UsageError(
                        "this network acts in its environment, where no trials from files are used: "
                        "leave " + name + " away");
                std::vector<std::string>& files = trials[stream->second];
                files.push_back(value);
                while (i + 1 < arguments.size() && arguments[i + 1].compare(0, 1, "-") != 0)
                    files.push_back(arguments[++i]);
            }
            else if (name == "--iterations")
            {
                const std::uint64_t number = whole(name, value);
                if (number < 1 || number > 1000000000)
                    throw UsageError(name + " must be from 1 to 1000000000, not " + value);
                iterations = number;
            }
            else if (name == "--seed")
            {
                seed = whole(name, value);
                has_seed = true;
            }
            else if (name == "--learning-rate")
            {
                char* end;
                const double rate = std::strtod(value.c_str(), &end);
                if (value.empty() || *end || !std::isfinite(rate) || rate < 0)
                    throw UsageError(name + " must be a number from 0 on, not '" + value + "'");
                if (description.learning_rates.empty())
                    throw UsageError("this network's optimizer has no learning rate");
                learning_rate = value;
            }
            else
                run = value;
        }
        if (resume && has_seed)
            throw UsageError("--seed cannot be changed when a run is resumed");
        if (resume && !learning_rate.empty())
            throw UsageError("--learning-rate cannot be changed when a run is resumed");
    }

    static void print_help(const std::string& program)
    {
        std::printf(
            "Usage: %s [OPTIONS]\n\n"
            "Trains the network of eprop_brian's task %s. The last line of the output is the\n"
            "%s.\n\n"
            "  --iterations N         total number of updates (default: %d)\n"
            "  --seed S               of weights and trials (default: %llu)\n"
            "  --learning-rate ETA    instead of the configured one\n"
            "%s"
            "  --run FOLDER           of weights and history (default: run, beside the program)\n"
            "  --resume               resume the run in that folder\n"
            "  --no-stop              do not stop when the task is solved\n"
            "  --quiet                no progress\n"
            "  -h, --help             this text\n",
            program.c_str(), description.task.c_str(),
            description.acts ? "mean return of the last episodes" : "final loss (and error)",
            description.iterations, (unsigned long long)description.seed,
            description.acts ? "" : of_trials());
    }

private:
    static const char* of_trials()
    {
        return
            "  --trials FILE...       learn from these trials (.npz, see README.md)\n"
            "  --validation-trials FILE...  decide on a third of these whether the task is solved,\n"
            "                         and confirm it on the others\n"
            "  --test-trials FILE...  test on these at the end\n";
    }

    static std::uint64_t whole(const std::string& name, const std::string& value)
    {
        if (value.empty() || value.size() > 18 ||
            value.find_first_not_of("0123456789") != std::string::npos)
            throw UsageError(
                name + " must be a whole number below 10^18, not '" + value + "'");
        return std::strtoull(value.c_str(), nullptr, 10);
    }
};
}
#endif
