// history.csv: one row an iteration, in the format of eprop_brian (eprop_brian/base/history.py).
#ifndef EPROP_BRIAN_HISTORY_H
#define EPROP_BRIAN_HISTORY_H

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "../common/errors.h"
#include "description.h"
#include "files.h"

namespace eprop_brian
{
// The shortest text that reads back as the same number.
inline std::string number_text(double value)
{
    char text[40];
    for (int digits = 15; digits <= 17; digits++)
    {
        std::snprintf(text, sizeof text, "%.*g", digits, value);
        if (std::strtod(text, nullptr) == value)
            break;
    }
    return text;
}

struct History
{
    std::vector<double> loss, error, rate_hz, seconds, alignment;
    // Of episodes alone (training/history.py).
    std::vector<double> returns, length, entropy, value_error;
    // Of each population, where there are several.
    std::vector<std::vector<double>> rates_hz;

    History() : rates_hz(description.populations.size() > 1 ? description.populations.size() : 0) {}

    // The firing rates of a population.
    const std::vector<double>& rates(std::size_t population) const
    {
        return rates_hz.empty() ? rate_hz : rates_hz[population];
    }

    int size() const { return loss.size(); }

    void resize(std::size_t n)
    {
        for (const Column& column : columns(true, true))
            of(column).resize(n);
    }

    // Mean return of the last description.n_episodes episodes, and how many of them there were. Of
    // the oldest batch a part counts, where they are no whole number of batches.
    std::pair<double, int> recent_return() const
    {
        double sum = 0;
        int count = 0;
        for (int row = size() - 1; row >= 0 && count < description.n_episodes; row--)
        {
            const int episodes = std::min(description.batch_size, description.n_episodes - count);
            sum += episodes*returns[row];
            count += episodes;
        }
        return {sum/count, count};
    }

    void write(const std::string& path) const
    {
        const std::vector<Column> written = columns(size() > 0, size() > 0);
        std::string text = header(written) + '\n';
        for (int row = 0; row < size(); row++)
        {
            text += std::to_string(row + 1);
            for (const Column& column : written)
                text += ',' + field(of(column)[row], column);
            text += '\n';
        }
        write_file(path, text);
    }

    // Earlier versions, and the tool before the first iteration, write fewer columns.
    static History read(const std::string& path)
    {
        std::istringstream text(read_file(path));
        std::string first, line;
        std::getline(text, first);
        std::vector<Column> there;
        for (const auto& some : {columns(true, true), columns(true, false), columns(false, false)})
            if (first == header(some))
                there = some;
        if (there.empty())
            throw Error(path + ": expected the columns " + header(columns(true, true)));
        History history;
        while (std::getline(text, line))
            history.append(line, there, path);
        return history;
    }

private:
    struct Column
    {
        std::string name;
        std::vector<double> History::*values;  // null: the rates of a population
        std::size_t population;
        bool exact;     // all digits rather than six
        bool optional;  // whether NAN is an empty field
    };

    std::vector<double>& of(const Column& column)
    {
        return column.values ? this->*column.values : rates_hz[column.population];
    }

    const std::vector<double>& of(const Column& column) const
    {
        return column.values ? this->*column.values : rates_hz[column.population];
    }

    // The columns of this network's history, with those of episodes, if it has any, and of
    // populations, if it has several.
    static std::vector<Column> columns(bool episodes, bool populations)
    {
        std::vector<Column> every = {
            {"loss", &History::loss, 0, true, false},
            {"error", &History::error, 0, true, true},
            {"rate_hz", &History::rate_hz, 0, false, false},
            {"seconds", &History::seconds, 0, false, false},
            {"alignment", &History::alignment, 0, true, true}};
        if (description.acts && episodes)
        {
            every.push_back({"return", &History::returns, 0, true, true});
            every.push_back({"length", &History::length, 0, false, true});
            every.push_back({"entropy", &History::entropy, 0, false, true});
            every.push_back({"value_error", &History::value_error, 0, false, true});
        }
        for (std::size_t k = 0; populations && k < History().rates_hz.size(); k++)
            every.push_back({"rate_hz." + description.populations[k].name, nullptr, k, false, true});
        return every;
    }

    static std::string header(const std::vector<Column>& columns)
    {
        std::string text = "iteration";
        for (const Column& column : columns)
            text += "," + column.name;
        return text;
    }

    static std::string field(double value, const Column& column)
    {
        if (std::isnan(value))
            return column.optional ? "" : "nan";
        char text[40];
        std::snprintf(text, sizeof text, "%.6g", value);
        return column.exact ? number_text(value) : text;
    }

    void append(const std::string& line, const std::vector<Column>& there, const std::string& path)
    {
        std::istringstream row(line + ",");
        std::vector<double> numbers;
        std::string field;
        while (std::getline(row, field, ','))
        {
            char* end;
            numbers.push_back(field.empty() ? NAN : std::strtod(field.c_str(), &end));
            if (!field.empty() && *end)
                numbers.clear();
        }
        if (numbers.size() != there.size() + 1)
            throw Error(
                path + ", line " + std::to_string(size() + 2) + ": not " +
                std::to_string(there.size() + 1) + " numbers");
        static const std::vector<Column> every = columns(true, true);
        for (const Column& column : every)
            of(column).push_back(NAN);
        for (std::size_t i = 0; i < there.size(); i++)
            of(there[i]).back() = numbers[i + 1];
    }
};
}
#endif
