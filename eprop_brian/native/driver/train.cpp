// The program of an exported project: options, a run's folder, trials and training.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "../common/errors.h"
#include "../common/process.h"
#include "archive.h"
#include "description.h"
#include "drawn_trials.h"
#include "eprop.h"
#include "options.h"
#include "recorded_trials.h"
#include "run_folder.h"
#include "trainer.h"

namespace eprop_brian
{
namespace
{
// Everything of a run, from the command line to the result.
class Program
{
public:
    explicit Program(const Options& options)
        : options(options), home(folder_of(program_path("train"))), start(home + "/data/start"),
          folder(options.run.empty() ? home + "/run" : options.run),
          config(start.file("config.toml")), network(home)
    {
        if (options.resume)
            resume();
        else
            begin();
        network.learning_rate = config.learning_rate();
    }

    // Returns the exit status.
    int run()
    {
        Trainer trainer(
            network, *source, folder, history, config.iterations(), options.stop, options.quiet);
        try
        {
            trainer.train();
            return 0;
        }
        catch (const Interrupted&)
        {
            trainer.abandon();
            std::fprintf(
                stderr,
                "interrupted; checkpoint of iteration %d saved. Resume with:\n  %s --resume%s\n",
                trainer.iteration(), quoted(program_path("train")).c_str(), again().c_str());
            return 130;
        }
        catch (const Error&)
        {
            trainer.abandon();
            throw;
        }
    }

private:
    const Options options;
    const std::string home;
    const RunFolder start, folder;
    Config config;
    Network network;
    History history;
    std::unique_ptr<TrialSource> source;

    void begin()
    {
        if (folder.is_run())
            throw Error(
                folder.path + " already holds a run: continue it with --resume, or choose another "
                "folder with --run");
        const std::uint64_t seed = options.has_seed ? options.seed : description.seed;
        config.set("run", "seed", std::to_string(seed));
        if (options.iterations)
            config.set("run", "iterations", std::to_string(options.iterations));
        if (!options.learning_rate.empty())
            config.set(
                "optimizer", "eta",
                number_text(std::strtod(options.learning_rate.c_str(), nullptr)));
        make_source(seed);
        if (seed != description.seed)
            network.draw_weights(seed);
        folder.begin(start, config, network.state.archive(network.initial), own_trials());
        std::printf("training in %s\n", folder.path.c_str());
        std::fflush(stdout);
    }

    void resume()
    {
        if (!folder.is_run())
            throw Error(folder.path + " holds no run to resume");
        claim(folder.path);
        Config own(folder.file("config.toml"));
        if (!config.is_like(own))
            throw Error(
                folder.path + " holds a run with other settings than this program's (" +
                start.file("config.toml") + ")");
        config = own;
        check_trials();
        make_source(config.number("run", "seed"));
        network.state = State(Archive::read(folder.file("checkpoint.npz")), network.initial);
        if (!network.state.is_finite())
            throw Error(folder.file("checkpoint.npz") + " holds numbers that are not finite");
        history = History::read(folder.file("history.csv"));
        const int done = network.state.n_updates;
        if (history.size() < done)
            throw Error(
                folder.file("history.csv") + " has " + std::to_string(history.size()) +
                " rows, the checkpoint is of iteration " + std::to_string(done));
        // A process killed between writing the two files leaves rows that are computed again.
        history.resize(done);
        if (options.iterations)
        {
            config.set("run", "iterations", std::to_string(options.iterations));
            write_file(folder.file("config.toml"), config.text());
        }
        if (options.trials.count("train"))
            write_file(folder.trials(), own_trials());
        std::printf("resuming %s at iteration %d\n", folder.path.c_str(), done);
        if (done >= config.iterations())
            std::printf("nothing to do: give a larger --iterations to continue\n");
        std::fflush(stdout);
    }

    // The content of trials.txt for this call; "" for trials of the task.
    std::string own_trials() const
    {
        const auto found = options.trials.find("train");
        return found == options.trials.end() ? "" : RecordedTrials::text_of(found->second);
    }

    // A run that learned from files is resumed with the same ones, which may have moved.
    void check_trials() const
    {
        if (!exists(folder.trials()))
            return;
        const std::vector<std::string> before = lines_of(read_file(folder.trials())),
                                       now = lines_of(own_trials());
        bool same = before.size() == now.size();
        for (std::size_t i = 0; same && i < now.size(); i++)
            same = before[i].substr(0, 8) == now[i].substr(0, 8);
        if (same)
            return;
        std::string files;
        for (const std::string& line : before)
            files += line.size() > 9 ? " " + quoted(line.substr(9)) : "";
        throw Error(
            folder.path + " learned from other trials: resume it with --trials" + files +
            ", or begin another run (trials.txt has the sums of these files)");
    }

    static std::vector<std::string> lines_of(const std::string& text)
    {
        std::istringstream stream(text);
        std::vector<std::string> lines;
        std::string line;
        while (std::getline(stream, line))
            lines.push_back(line);
        return lines;
    }

    void make_source(std::uint64_t seed)
    {
        std::map<std::string, std::vector<std::string>> files = options.trials;
        if (!files.empty() && !files.count("train"))
            throw UsageError("test and validation trials need training trials: give --trials");
        if (files.empty() && description.source == "recorded")
        {
            for (const std::string stream : {"train", "validation", "test"})
            {
                const std::string path = home + "/data/" + stream + ".npz";
                if (exists(path))
                    files[stream] = {path};
            }
            if (seed != description.seed)
                std::printf(
                    "the trials of this task are recorded: another seed changes only the initial "
                    "weights\n");
        }
        if (files.empty())
            source = task_trials(home, seed);
        else
            source.reset(new RecordedTrials(files));
    }

    // Options of the call that resumes this run.
    std::string again() const
    {
        std::string text;
        if (!options.run.empty())
            text += " --run " + quoted(options.run);
        static const std::map<std::string, std::string> names = {
            {"train", " --trials"}, {"validation", " --validation-trials"},
            {"test", " --test-trials"}};
        for (const auto& entry : options.trials)
        {
            text += names.at(entry.first);
            for (const std::string& path : entry.second)
                text += " " + quoted(path);
        }
        return text + (options.stop ? "" : " --no-stop") + (options.quiet ? " --quiet" : "");
    }

    // As a shell reads it.
    static std::string quoted(const std::string& text)
    {
        std::string result = "'";
        for (const char letter : text)
            result += letter == '\'' ? std::string("'\\''") : std::string(1, letter);
        return text.find_first_of(" \t\n'\"\\$`&|;<>()*?[]{}#~!") == std::string::npos
                   ? text
                   : result + "'";
    }
};
}
}

int main(int argc, char** argv)
{
    using namespace eprop_brian;
    catch_interrupts();
    int status = 1;
    try
    {
        const Options options(std::vector<std::string>(argv + 1, argv + argc));
        if (options.help)
        {
            Options::print_help(program_path("train"));
            return 0;
        }
        status = Program(options).run();
    }
    catch (const UsageError& error)
    {
        std::fprintf(stderr, "Error: %s\n", error.what());
        status = 2;
    }
    catch (const Error& error)
    {
        std::fprintf(stderr, "Error: %s\n", error.what());
    }
    catch (const std::exception& error)
    {
        std::fprintf(stderr, "Error: out of memory, or src/ and data/ do not fit: %s\n", error.what());
    }
    std::fflush(stdout);
    release();
    std::_Exit(status);
}
