// Probabilities of sequences of labels: connectionist temporal classification (Graves et al. 2006).
//
// A position s of a sequence is a label where s is odd, and else the blank before or behind one.
#ifndef EPROP_BRIAN_CTC_H
#define EPROP_BRIAN_CTC_H

#include <math.h>
#include <stdint.h>

#if defined(__CUDACC__)
#define EPROP_BRIAN_DEVICE __device__
#else
#define EPROP_BRIAN_DEVICE
#endif

namespace eprop_brian
{
// A loop on a processor; the threads of a GPU share it out, see device.h.
struct OneThread
{
    template <typename Body> void each(int n, const Body& body) const
    {
        for (int i = 0; i < n; i++) body(i);
    }
};

// log(exp(a) + exp(b)), for 0 as exp(-infinity) too.
EPROP_BRIAN_DEVICE inline double log_sum(double a, double b)
{
    const double most = a > b ? a : b, least = a > b ? b : a;
    return least == -INFINITY ? most : most + log1p(exp(least - most));
}

// What a trial shows in its frames, and what it was to show.
template <typename Real> struct LabelledFrames
{
    int most_labels, n_outputs;
    // -1 behind the last.
    const int32_t* labels;
    // Steps of each frame, 0 behind the last.
    const int32_t* frame_steps;
    // Sums of the outputs over the steps of each frame, `row` numbers apart; afterwards of the
    // probabilities.
    Real* sums;
    int row;
    // By frame and output: the mean output, the probability, and the probability given the labels.
    Real *y, *p, *y_target;
    // A number for every output, of which the first is that of the labels.
    Real* log_likelihood;
    // Room for (frames + 2)*(2*most_labels + 1) + frames numbers.
    double* room;
};

template <typename Threads, typename Real>
EPROP_BRIAN_DEVICE void
label_probabilities(const Threads& threads, int most_frames, const LabelledFrames<Real>& f)
{
    const int n = f.n_outputs, blank = n - 1;
    int n_frames = 0, n_labels = 0;
    while (n_frames < most_frames && f.frame_steps[n_frames] > 0) n_frames++;
    while (n_labels < f.most_labels && f.labels[n_labels] >= 0) n_labels++;
    const int n_positions = 2*n_labels + 1;
    double* const log_forward = f.room;
    double* const log_backward = log_forward + most_frames*(2*f.most_labels + 1);
    double* const log_norm = log_backward + 2*(2*f.most_labels + 1);

    threads.each(n_frames, [&](int frame) {
        Real* const y = f.y + frame*n;
        double most = -INFINITY, sum = 0;
        for (int k = 0; k < n; k++)
        {
            y[k] = f.sums[frame*f.row + k]/f.frame_steps[frame];
            if (!(y[k] <= most)) most = y[k];
        }
        for (int k = 0; k < n; k++) sum += exp(y[k] - most);
        log_norm[frame] = most + log(sum);
    });

    const auto output = [&](int s) { return s & 1 ? f.labels[s >> 1] : blank; };
    // Whether the blank before a position may be left out.
    const auto skips = [&](int s) {
        return (s & 1) && s > 1 && f.labels[s >> 1] != f.labels[(s >> 1) - 1];
    };
    const auto log_p = [&](int frame, int s) {
        return f.y[frame*n + output(s)] - log_norm[frame];
    };
    for (int frame = 0; frame < n_frames; frame++)
    {
        double* const now = log_forward + frame*n_positions;
        const double* const before = now - n_positions;
        threads.each(n_positions, [&](int s) {
            double ways = s < 2 ? 0 : -INFINITY;
            if (frame > 0)
            {
                ways = before[s];
                if (s > 0) ways = log_sum(ways, before[s - 1]);
                if (skips(s)) ways = log_sum(ways, before[s - 2]);
            }
            now[s] = ways + log_p(frame, s);
        });
    }
    const double* const last = log_forward + (n_frames - 1)*n_positions;
    double log_likelihood = last[n_positions - 1];
    if (n_labels > 0) log_likelihood = log_sum(log_likelihood, last[n_positions - 2]);
    threads.each(n, [&](int k) { f.log_likelihood[k] = k ? 0 : (Real)log_likelihood; });

    for (int frame = n_frames - 1; frame >= 0; frame--)
    {
        // Of the frames that follow; each position's own probability given the labels takes the
        // place of what is known of it forwards.
        double* const now = log_backward + (frame & 1)*n_positions;
        const double* const after = log_backward + (1 - (frame & 1))*n_positions;
        threads.each(n_positions, [&](int s) {
            double ways = s > n_positions - 3 ? 0 : -INFINITY;
            if (frame < n_frames - 1)
            {
                ways = after[s] + log_p(frame + 1, s);
                if (s + 1 < n_positions)
                    ways = log_sum(ways, after[s + 1] + log_p(frame + 1, s + 1));
                if (s + 2 < n_positions && skips(s + 2))
                    ways = log_sum(ways, after[s + 2] + log_p(frame + 1, s + 2));
            }
            now[s] = ways;
            double& known = log_forward[frame*n_positions + s];
            known = exp(known + ways - log_likelihood);
        });
    }
    threads.each(n_frames, [&](int frame) {
        const double* const given = log_forward + frame*n_positions;
        for (int k = 0; k < n; k++)
        {
            double sum = 0;
            for (int s = k == blank ? 0 : 1; s < n_positions; s += 2)
                if (output(s) == k) sum += given[s];
            const Real p = exp(f.y[frame*n + k] - log_norm[frame]);
            f.y_target[frame*n + k] = sum;
            f.p[frame*n + k] = p;
            f.sums[frame*f.row + k] = p*f.frame_steps[frame];
        }
    });
}
}
#undef EPROP_BRIAN_DEVICE
#endif
