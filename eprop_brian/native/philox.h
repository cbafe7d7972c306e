// Random numbers of a counter-based generator, bit for bit those of eprop_brian/base/random.py, which
// has the formulas in words. To be compiled without -ffast-math and with -ffp-contract=off.
#ifndef EPROP_BRIAN_PHILOX_H
#define EPROP_BRIAN_PHILOX_H

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "common/crc32.h"

namespace eprop_brian
{
typedef std::array<std::uint64_t, 4> Block;

// Philox4x64-10 of Salmon et al. 2011: four words for every counter.
inline Block philox(Block counter, std::array<std::uint64_t, 2> key)
{
    typedef unsigned __int128 Wide;
    for (int round = 0; round < 10; round++)
    {
        const Wide first = (Wide)0xd2e7470ee14c6c93*counter[0];
        const Wide second = (Wide)0xca5a826395121157*counter[2];
        counter = {
            (std::uint64_t)(second >> 64) ^ counter[1] ^ key[0], (std::uint64_t)second,
            (std::uint64_t)(first >> 64) ^ counter[3] ^ key[1], (std::uint64_t)first};
        key[0] += 0x9e3779b97f4a7c15;
        key[1] += 0xbb67ae8584caa73b;
    }
    return counter;
}

class Random
{
public:
    // The generator of a stream that stays the same in a run.
    Random(std::uint64_t seed, const std::string& stream)
        : key{seed, crc32(stream.data(), stream.size())}, counter{0, 0, 0, 0}
    {
    }
    // That of a batch.
    Random(std::uint64_t seed, const std::string& stream, std::uint64_t index)
        : Random(seed, stream)
    {
        counter[2] = index + 1;
    }

    std::uint64_t word()
    {
        if (n_taken == 4)
        {
            counter[0]++;
            block = philox(counter, key);
            n_taken = 0;
        }
        return block[n_taken++];
    }

    // From 0 to below 1.
    double uniform() { return (word() >> 11)*0x1p-53; }

    // From 0 to below n.
    std::uint32_t below(std::uint32_t n) { return uniform()*n; }

    // The numbers below n in some order.
    std::vector<std::size_t> permutation(std::size_t n)
    {
        std::vector<std::uint64_t> words(n);
        for (std::uint64_t& one : words)
            one = word();
        std::vector<std::size_t> order(n);
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [&words](std::size_t a, std::size_t b) {
            return words[a] < words[b];
        });
        return order;
    }

    // So many normal numbers of mean 0 and variance 1, made in pairs.
    std::vector<double> normals(std::size_t count)
    {
        std::vector<double> values(count + 1);
        for (std::size_t i = 0; i < count; i += 2)
        {
            const double radius = std::sqrt(-2.0*logarithm(1.0 - uniform()));
            const std::array<double, 2> both = cosine_and_sine(uniform());
            values[i] = both[0]*radius;
            values[i + 1] = both[1]*radius;
        }
        values.resize(count);
        return values;
    }

    // By the series of atanh; x is positive.
    static double logarithm(double x)
    {
        int exponent;
        double mantissa = std::frexp(x, &exponent);
        if (mantissa < 0.7071067811865476)
        {
            mantissa *= 2.0;
            exponent--;
        }
        const double s = (mantissa - 1.0)/(mantissa + 1.0), square = s*s;
        double series = 1.0/21;
        for (int n = 19; n > 0; n -= 2)
            series = series*square + 1.0/n;
        return exponent*0.6931471805599453 + 2.0*s*series;
    }

    // Of an angle in turns, from 0 to 1, by their series within an eighth of a turn.
    static std::array<double, 2> cosine_and_sine(double turns)
    {
        const double quarters = std::floor(4.0*turns + 0.5);
        const double x = (4.0*turns - quarters)*1.5707963267948966, square = x*x;
        const double sine = x*series(17, square), cosine = series(18, square);
        switch ((int)quarters % 4)
        {
        case 0:
            return {cosine, sine};
        case 1:
            return {-sine, cosine};
        case 2:
            return {-cosine, -sine};
        default:
            return {sine, -cosine};
        }
    }

private:
    std::array<std::uint64_t, 2> key;
    Block counter, block{};
    int n_taken = 4;

    // The sum of (-square)^k over the factorial of `last`, `last` - 2, ..., from the smallest on.
    static double series(int last, double square)
    {
        double sum = 0;
        for (int n = last; n >= 0; n -= 2)
        {
            double factorial = 1;
            for (int factor = 2; factor <= n; factor++)
                factorial *= factor;
            const double term = (n/2 % 2 ? -1.0 : 1.0)/factorial;
            sum = n == last ? term : sum*square + term;
        }
        return sum;
    }
};
}
#endif
