// The folder of a run: config.toml and neuron files, history.csv, initial.npz and checkpoint.npz, in
// the formats of eprop_brian.
#ifndef EPROP_BRIAN_RUN_FOLDER_H
#define EPROP_BRIAN_RUN_FOLDER_H

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <string>
#include <vector>

#include "../common/process.h"
#include "archive.h"
#include "files.h"
#include "description.h"
#include "history.h"

namespace eprop_brian
{
// config.toml, in which three numbers may change: lines "key = value" below "[table]".
class Config
{
public:
    explicit Config(const std::string& path) : path(path)
    {
        std::istringstream text(read_file(path));
        std::string line;
        while (std::getline(text, line))
            lines.push_back(line);
    }

    std::string get(const std::string& table, const std::string& key) const
    {
        const std::size_t place = find(table, key);
        if (place == lines.size())
            return "";
        return lines[place].substr(key.size() + 3);
    }

    std::uint64_t number(const std::string& table, const std::string& key) const
    {
        const std::string text = get(table, key);
        if (text.empty() || text.size() > 18 ||
            text.find_first_not_of("0123456789") != std::string::npos)
            throw Error(path + ": " + table + "." + key + " is not a whole number below 10^18");
        return std::strtoull(text.c_str(), nullptr, 10);
    }

    int iterations() const
    {
        const std::uint64_t count = number("run", "iterations");
        if (count < 1 || count > 1000000000)
            throw Error(path + ": run.iterations must be from 1 to 1000000000");
        return count;
    }

    // The configured learning rate, or that of the optimizer.
    double learning_rate() const
    {
        const std::string text = get("optimizer", "eta");
        if (text.empty())
            return description.learning_rate;
        char* end;
        const double rate = std::strtod(text.c_str(), &end);
        if (*end || !std::isfinite(rate))
            throw Error(path + ": optimizer.eta is not a finite number");
        return rate;
    }

    void set(const std::string& table, const std::string& key, const std::string& value)
    {
        const std::string line = key + " = " + value;
        const std::size_t place = find(table, key);
        if (place < lines.size())
            lines[place] = line;
        else
            for (std::size_t i = 0; i < lines.size(); i++)
                if (lines[i] == "[" + table + "]")
                {
                    lines.insert(lines.begin() + i + 1, line);
                    break;
                }
    }

    std::string text() const
    {
        std::string all;
        for (const std::string& line : lines)
            all += line + '\n';
        return all;
    }

    // Whether two differ only in settings that an exported program or its user may change.
    bool is_like(Config other) const
    {
        Config own = *this;
        const char* const changeable[][2] = {
            {"run", "seed"}, {"run", "iterations"}, {"run", "device"}, {"optimizer", "eta"}};
        for (const auto& names : changeable)
        {
            own.set(names[0], names[1], "0");
            other.set(names[0], names[1], "0");
        }
        return own.text() == other.text();
    }

private:
    std::string path;
    std::vector<std::string> lines;

    std::size_t find(const std::string& table, const std::string& key) const
    {
        bool inside = false;
        for (std::size_t i = 0; i < lines.size(); i++)
        {
            if (lines[i].compare(0, 1, "[") == 0)
                inside = lines[i] == "[" + table + "]";
            else if (inside && lines[i].compare(0, key.size() + 3, key + " = ") == 0)
                return i;
        }
        return lines.size();
    }
};

class RunFolder
{
public:
    const std::string path;

    explicit RunFolder(const std::string& path) : path(path) {}

    std::string file(const std::string& name) const { return path + "/" + name; }

    // Lists the files of trials that a run learned from, if they were not those of the task.
    std::string trials() const { return file("trials.txt"); }

    bool is_run() const { return exists(file("config.toml")); }

    // Begin a run; config.toml comes last: the folder is a run from there on.
    void begin(
        const RunFolder& start, const Config& config, const Archive& initial,
        const std::string& own_trials) const
    {
        make_folder(path);
        claim(path);
        if (is_run())
            throw Error(path + " holds a run that another process has begun meanwhile");
        const Uninterrupted saving;
        for (const std::string& name : description.copied)
            write_file(file(name), read_file(start.file(name)));
        initial.write(file("initial.npz"));
        save(History(), initial);
        if (!own_trials.empty())
            write_file(trials(), own_trials);
        write_file(file("config.toml"), config.text());
    }

    void save(const History& history, const Archive& state) const
    {
        const Uninterrupted saving;
        history.write(file("history.csv"));
        state.write(file("checkpoint.npz"));
    }
};
}
#endif
