// Threads of a network: see threads.h.
#include "threads.h"

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <system_error>
#include <thread>

#include "running.h"

namespace eprop_brian
{
namespace
{
// Work comes several times in a step, so whoever waits looks for it for some microseconds. Where
// there are more threads than processors it makes room then, and sleeps in the end.
const int most_looks = 2000, most_yields = 100;

void pause_after(int looks)
{
    if (looks >= most_looks) return std::this_thread::yield();
#if defined(__SSE2__)
    _mm_pause();
#endif
}

class Threads
{
public:
    // Where the system has no room for so many, they are fewer, and only take longer.
    explicit Threads(int most) : others(0), rounds(0), working(0), asleep(0)
    {
        try
        {
            while (others + 1 < most)
            {
                std::thread(&Threads::work, this, others + 1).detach();
                others++;
            }
        }
        catch (const std::system_error&)
        {
        }
    }

    int number() const { return others + 1; }

    void run(void (*part)(const void*, int), const void* of)
    {
        call = part;
        data = of;
        working.store(others);
        rounds++;
        if (asleep.load() > 0)
        {
            std::lock_guard<std::mutex> lock(mutex);
            woken.notify_all();
        }
        part(of, 0);
        for (int k = 0; working.load() > 0; k++) pause_after(k);
    }

private:
    void work(int k)
    {
        flush_denormals();
        for (unsigned done = 0;; done++)
        {
            wait(done);
            call(data, k);
            working--;
        }
    }

    // Until there has been another round.
    void wait(unsigned done)
    {
        for (int k = 0; k < most_looks + most_yields; k++)
        {
            if (rounds.load() != done) return;
            pause_after(k);
        }
        std::unique_lock<std::mutex> lock(mutex);
        asleep++;
        woken.wait(lock, [&] { return rounds.load() != done; });
        asleep--;
    }

    int others;
    std::atomic<unsigned> rounds;
    std::atomic<int> working, asleep;
    std::mutex mutex;
    std::condition_variable woken;
    void (*call)(const void*, int) = nullptr;
    const void* data = nullptr;
};

int asked_for()
{
    const char* const text = std::getenv("EPROP_BRIAN_THREADS");
    const int number = text ? std::atoi(text) : 1;
    return number < 1 ? 1 : number > most_threads ? most_threads : number;
}

// They never end, but with the program.
Threads& all_threads()
{
    static Threads* const threads = new Threads(asked_for());
    return *threads;
}
}

int n_threads()
{
    static const int number = all_threads().number();
    return number;
}

void on_threads(void (*part)(const void*, int), const void* data)
{
    if (n_threads() == 1) return part(data, 0);
    all_threads().run(part, data);
}
}
