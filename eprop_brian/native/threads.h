// Threads that share out the neurons of a large network.
#ifndef EPROP_BRIAN_THREADS_H
#define EPROP_BRIAN_THREADS_H

namespace eprop_brian
{
const int most_threads = 256;

// As many as the environment variable EPROP_BRIAN_THREADS says, or as can be started; 1 without it.
int n_threads();

// Calls part(data, k) on thread k, for all of them, and waits until all have returned. The thread
// that calls is number 0. What is written before is seen by all, and what they write afterwards.
void on_threads(void (*part)(const void* data, int k), const void* data);

// The same for an object that is called with k. It is compiled once, whatever the number of threads:
// so results are the same to the last bit. Each thread has a copy, in registers as far as possible.
template <typename Part>
void share_out(const Part& part)
{
    struct Call
    {
        static void with(const void* data, int k)
        {
            const Part part = *static_cast<const Part*>(data);
            part(k);
        }
    };
    on_threads(&Call::with, &part);
}

// Elements first to last of n that thread k has, in groups that are not split.
struct Range
{
    Range(int k, int n, int group)
    {
        const long groups = (n + group - 1)/group, threads = n_threads();
        first = (int)(groups*k/threads*group);
        last = (int)(groups*(k + 1)/threads*group);
        if (last > n) last = n;
    }
    int first, last;
};
}
#endif
