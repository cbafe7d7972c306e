// The state of training, as files hold it.
#ifndef EPROP_BRIAN_STATE_H
#define EPROP_BRIAN_STATE_H

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "archive.h"
#include "description.h"

namespace eprop_brian
{
// Everything that learning changes: weights, states of the optimizer, the number of updates.
struct State
{
    std::map<std::string, std::vector<double>> values;
    std::int64_t n_updates = 0;

    State(const Archive& archive, const Archive& like)
    {
        for (const auto& member : like.members)
        {
            const std::string& name = member.first;
            const Numbers& wanted = member.second;
            if (!archive.has(name) || archive.at(name).shape != wanted.shape)
                throw Error(
                    "the saved state has no '" + name + "' of shape " + wanted.shape_text() +
                    " that this network needs");
            const Numbers& given = archive.at(name);
            if (wanted.is_float())
                values[name] = given.doubles();
            else if (name == "n_updates")
            {
                if (given.is_float() || given.size() != 1)
                    throw Error("the saved state's 'n_updates' is not a whole number");
                n_updates = given.integers().at(0);
                if (n_updates < 0 || n_updates > 1000000000)
                    throw Error("the saved state's 'n_updates' is " + std::to_string(n_updates));
            }
            else if (given.is_float() || given.integers() != wanted.integers())
                throw Error("the saved state's '" + name + "' belongs to another network");
        }
        for (const auto& entry : values)
            check_clock(entry.first, entry.second);
    }

    // Throws if the clock of continuous operation, which leads to rows of histories, is not a step.
    static void check_clock(const std::string& name, const std::vector<double>& values)
    {
        if (name != "carried.control.clock")
            return;
        for (const double steps : values)
            if (!(steps >= 0 && steps <= 2000000000 && steps == std::floor(steps)))
                throw Error("the saved state's '" + name + "' is not a step");
    }

    Archive archive(const Archive& like) const
    {
        Archive result = like;
        for (auto& member : result.members)
            if (member.second.is_float())
                member.second = Numbers::of(values.at(member.first), member.second.shape);
            else if (member.first == "n_updates")
                member.second = Numbers::of(n_updates);
        return result;
    }

    bool is_finite() const { return not_finite().empty(); }

    // The first number that is not finite: "'w_in', number 7"; "" if all are.
    std::string not_finite() const
    {
        for (const auto& entry : values)
            for (std::size_t i = 0; i < entry.second.size(); i++)
                if (!std::isfinite(entry.second[i]))
                    return "'" + entry.first + "', number " + std::to_string(i);
        return "";
    }

    double largest_weight() const
    {
        double largest = 0;
        for (const std::string& name : description.weights)
            largest = std::max(largest, largest_of(values.at(name)));
        return largest;
    }

    // Largest change of a weight since a state, relative to the largest weight of its matrix.
    double largest_change(const State& before) const
    {
        double largest = 0;
        for (const std::string& name : description.weights)
        {
            const std::vector<double>&now = values.at(name), &old = before.values.at(name);
            std::vector<double> change(now.size());
            std::transform(
                now.begin(), now.end(), old.begin(), change.begin(),
                [](double a, double b) { return a - b; });
            const double size = std::max(largest_of(old), std::numeric_limits<double>::min());
            largest = std::max(largest, largest_of(change)/size);
        }
        return largest;
    }

    // Whether learning changed nothing.
    bool is_as(const State& other) const
    {
        for (const auto& entry : values)
            if (entry.first.compare(0, 8, "carried.") != 0 &&
                entry.second != other.values.at(entry.first))
                return false;
        return true;
    }

private:
    static double largest_of(const std::vector<double>& values)
    {
        double largest = 0;
        for (const double value : values)
            largest = std::max(largest, std::fabs(value));
        return largest;
    }
};
}
#endif
