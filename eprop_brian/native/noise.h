// Normal numbers that are a hash of their place: the same on every device, in whatever order they
// are made.
#pragma once
#include <cmath>
#ifdef __CUDACC__
#define EVERYWHERE __host__ __device__
#else
#define EVERYWHERE
#endif

namespace eprop_brian
{
EVERYWHERE inline unsigned long long mixed(unsigned long long z)
{
    z += 0x9E3779B97F4A7C15ULL;
    z = (z ^ (z >> 30))*0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27))*0x94D049BB133111EBULL;
    return z ^ (z >> 31);
}

// In double precision whatever the network's: the same numbers on every device.
EVERYWHERE inline double normal(unsigned long long seed, int time, int i)
{
    const unsigned long long z = mixed(mixed(seed + ((unsigned long long)time << 32)) + i);
    const double radius = sqrt(-2*log(((z >> 32) + 0.5)/4294967296.0));
    return radius*cos(2*M_PI*((z & 0xFFFFFFFFULL)/4294967296.0));
}
}
