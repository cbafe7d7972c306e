// The program around the compiled network: options, files, trials and the training loop.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "../calls.h"
#include "../common/errors.h"
#include "../common/process.h"
#include "archive.h"
#include "description.h"
#include "options.h"
#include "random.h"
#include "run_folder.h"
#include "session.h"
#include "trainer.h"
#include "trials.h"

namespace eprop_brian
{
namespace
{
// Everything of a run, from the command line to the result.
class Program
{
public:
    Program(Arrays& arrays, const Options& options)
        : options(options), home(folder_of(program_path("train"))), start(home + "/data/start"),
          folder(options.run.empty() ? home + "/run" : options.run),
          constants(own_data("constants.npz")), places(own_data("places.npz")),
          initial(Archive::read(start.file("initial.npz"))), ziggurat(own_data("ziggurat.npz")),
          config(start.file("config.toml")),
          session(arrays, constants, places, State(initial, initial))
    {
        if (options.resume)
            resume();
        else
            begin();
        trainer.reset(new Trainer(
            session, *source, folder, initial, history, config.iterations(),
            config.learning_rate(), options.stop, options.quiet));
    }

    bool next()
    {
        bool more = !stopping();
        try
        {
            more = more && trainer->next();
        }
        catch (const Error&)
        {
            trainer->abandon();
            throw;
        }
        if (stopping())
        {
            trainer->abandon();
            std::fprintf(
                stderr,
                "interrupted; checkpoint of iteration %d saved. Go on with:\n  %s --resume%s\n",
                trainer->iteration(), quoted(program_path("train")).c_str(), again().c_str());
            std::_Exit(130);
        }
        if (!more)
            trainer->print_result();
        return more;
    }

private:
    const Options options;
    const std::string home;
    const RunFolder start, folder;
    const Archive constants, places, initial;
    const Ziggurat ziggurat;
    Config config;
    Session session;
    History history;
    std::unique_ptr<TrialSource> source;
    std::unique_ptr<Trainer> trainer;

    void begin()
    {
        if (folder.is_run())
            throw Error(
                folder.path + " already holds a run: go on with --resume, or choose another "
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
            session.draw_weights(ziggurat, seed);
        folder.begin(start, config, session.state.archive(initial), own_trials());
        std::printf("training in %s\n", folder.path.c_str());
        std::fflush(stdout);
    }

    void resume()
    {
        if (!folder.is_run())
            throw Error(folder.path + " holds no run to go on with");
        claim(folder.path);
        Config own(folder.file("config.toml"));
        if (!config.is_like(own))
            throw Error(
                folder.path + " holds a run with other settings than this program's (" +
                start.file("config.toml") + ")");
        config = own;
        check_trials();
        make_source(config.number("run", "seed"));
        session.state = State(Archive::read(folder.file("checkpoint.npz")), initial);
        if (!session.state.is_finite())
            throw Error(folder.file("checkpoint.npz") + " holds numbers that are not finite");
        history = History::read(folder.file("history.csv"));
        const int done = session.state.n_updates;
        if (history.size() < done)
            throw Error(
                folder.file("history.csv") + " has " + std::to_string(history.size()) +
                " rows, the checkpoint is of iteration " + std::to_string(done));
        // A process killed between writing the two files leaves rows that will be made again.
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
            std::printf("nothing to do: give a larger --iterations to go on\n");
        std::fflush(stdout);
    }

    // What trials.txt says of this call: "" of the task's own trials.
    std::string own_trials() const
    {
        const auto found = options.trials.find("train");
        return found == options.trials.end() ? "" : RecordedTrials::text_of(found->second);
    }

    // A run that learned from trials of its user's own goes on with these; their folder may change.
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
            folder.path + " learned from other trials: go on with --trials" + files +
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
            throw UsageError("trials to test on come with trials to learn from: give --trials");
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
                    "trials of this task are recorded: another seed changes the initial weights "
                    "alone\n");
        }
        if (!files.empty())
            source.reset(new RecordedTrials(files));
        else if (description.source == "cues")
            source.reset(new CueTrials(own_data("task.npz"), ziggurat, seed));
        else
            source.reset(new FrozenTrials(own_data("task.npz"), ziggurat, seed));
    }

    // Data that belong to src/: the network takes indices from them, so only these very ones will do.
    Archive own_data(const std::string& name) const
    {
        const std::string path = home + "/data/" + name, file = read_file(path);
        if (crc32(file.data(), file.size()) != description.sums.at(name))
            throw Error(path + " is not the file that src/ was written for: export the project anew");
        return Archive::of(file, path);
    }

    // The options that say what is resumed and with what.
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

bool next_call(Arrays& arrays, const std::vector<std::string>& arguments)
{
    static std::unique_ptr<Program> program;
    int status = 1;
    try
    {
        if (!program)
        {
            const Options options(arguments);
            if (options.help)
            {
                Options::print_help(program_path("train"));
                std::fflush(stdout);
                std::_Exit(0);
            }
            catch_interrupts();
            flush_denormals();
            program.reset(new Program(arrays, options));
        }
        const bool more = program->next();
        std::fflush(stdout);
        return more;
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
    std::_Exit(status);
}
}
