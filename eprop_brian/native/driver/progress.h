// Progress: a line that is drawn over on a terminal, a line now and then in a log.
#ifndef EPROP_BRIAN_PROGRESS_H
#define EPROP_BRIAN_PROGRESS_H

#include <chrono>
#include <cmath>
#include <cstdio>
#include <unistd.h>

#include "run_folder.h"
#include "eprop.h"

namespace eprop_brian
{
class Progress
{
public:
    Progress(int iterations, bool quiet)
        : iterations(iterations), quiet(quiet), terminal(isatty(STDERR_FILENO))
    {
    }

    void show(const History& history, double trials_per_second, bool last)
    {
        const auto now = std::chrono::steady_clock::now();
        const auto pause = std::chrono::milliseconds(terminal ? 100 : 2000);
        if (quiet || (shown && !last && now - before < pause))
            return;
        shown = true;
        before = now;
        char score[40] = "";
        const int n = history.size();
        if (description.acts)
            std::snprintf(score, sizeof score, "  return %.4g", history.recent_return().first);
        else if (!std::isnan(history.error[n - 1]))
            std::snprintf(
                score, sizeof score, "  error %.3f", mean(history.error, n > 10 ? n - 10 : 0));
        std::fprintf(
            stderr, "%siteration %d/%d  loss %.4g%s  rate %.1f Hz  %.4g trials/s%s",
            terminal ? "\r" : "", n, iterations, history.loss[n - 1], score,
            history.rate_hz[n - 1], trials_per_second, terminal ? "\033[K" : "\n");
        std::fflush(stderr);
    }

    // Leave the line.
    void end()
    {
        if (shown && terminal)
            std::fputc('\n', stderr);
        shown = false;
    }

private:
    const int iterations;
    const bool quiet, terminal;
    bool shown = false;
    std::chrono::steady_clock::time_point before;
};
}
#endif
