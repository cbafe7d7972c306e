// Populations that have been silent or saturated for some iterations, as eprop_brian names them
// (eprop_brian/training/firing.py).
#ifndef EPROP_BRIAN_FIRING_H
#define EPROP_BRIAN_FIRING_H

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "description.h"
#include "history.h"

namespace eprop_brian
{
class FiringWatch
{
public:
    FiringWatch()
    {
        for (std::size_t k = 0; k < description.populations.size(); k++)
        {
            if (!description.populations[k].read)
                streaks.push_back({k, false});
            streaks.push_back({k, true});
        }
    }

    // What is to be said after new rows of a history: each once, until it has been over for as long.
    std::vector<std::string> follow(const History& history, bool silence_is_named)
    {
        std::vector<std::string> said;
        for (Streak& streak : streaks)
            if (streak.follow(history, seen) && (streak.saturated || !silence_is_named))
                said.push_back(streak.message(history));
        seen = history.size();
        return said;
    }

private:
    static constexpr int lasting = 10;
    static constexpr double share = 0.9;

    // Iterations in a row in which a population is silent, or saturated.
    struct Streak
    {
        std::size_t population;
        bool saturated;
        int first = 0;  // iteration, from 1 on; 0: there is none
        int ended = 0;  // iterations since the end of the last one
        bool is_named = false;

        bool follow(const History& history, int seen)
        {
            const std::vector<double>& rates = history.rates(population);
            const double most = share*description.populations[population].most_hz;
            for (int row = seen; row < history.size(); row++)
            {
                const bool holds = saturated ? rates[row] >= most : rates[row] == 0;
                first = !holds ? 0 : first > 0 ? first : row + 1;
                ended = holds ? 0 : ended + 1;
            }
            if (ended >= lasting)
                is_named = false;
            if (first == 0 || history.size() - first + 1 < lasting || is_named)
                return false;
            is_named = true;
            return true;
        }

        std::string message(const History& history) const
        {
            const Population& own = description.populations[population];
            char what[200] = "not one of its neurons has fired in any trial since then";
            const double rate = history.rates(population).back();
            if (saturated)
                std::snprintf(
                    what, sizeof what,
                    "it fires at %.4g Hz, %.0f%% of the %.4g Hz that are possible, and spikes that "
                    "are always there say nothing", rate, 100*rate/own.most_hz, own.most_hz);
            return "population '" + own.name + "' is " + (saturated ? "saturated" : "silent") +
                   " since iteration " + std::to_string(first) + ": " + what + ". " + advice();
        }

        std::string advice() const
        {
            const std::string scale =
                saturated ? "scale the weights that reach it down"
                          : "scale the weights that reach it up, or lower its threshold";
            if (first > 1)
                return std::string("If learning has ") +
                       (saturated ? "driven it there" : "silenced it") +
                       ", try a smaller learning rate or a rate regulariser; else " + scale;
            return 'S' + scale.substr(1);
        }
    };

    std::vector<Streak> streaks;
    int seen = 0;
};
}
#endif
