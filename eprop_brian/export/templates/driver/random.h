// The random numbers of NumPy's default generator, number for number: a seed gives the trials and
// the weights that it gives in eprop_brian.
//
// Sources: SeedSequence after O'Neill 2015, "Developing a seed_seq alternative", with NumPy's
// constants; PCG64 (XSL-RR 128/64) after O'Neill 2014; whole numbers by Lemire 2019; normal and
// exponential numbers by the ziggurat of Marsaglia & Tsang 2000 with 256 layers.
#ifndef EPROP_BRIAN_RANDOM_H
#define EPROP_BRIAN_RANDOM_H

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "archive.h"

namespace eprop_brian
{
// Layers of a ziggurat: widths over the largest whole number drawn, the whole numbers that lie
// inside a layer wherever it is hit, and the density at its edges.
struct Layers
{
    std::vector<double> width, density;
    std::vector<std::uint64_t> inside;

    Layers(const Archive& archive, const std::string& name)
        : width(archive.at(name + ".width").doubles()),
          density(archive.at(name + ".density").doubles())
    {
        for (const std::int64_t value : archive.at(name + ".inside").integers())
            inside.push_back(value);
    }
};

struct Ziggurat
{
    const Layers normal, exponential;

    explicit Ziggurat(const Archive& archive)
        : normal(archive, "normal"), exponential(archive, "exponential")
    {
    }
};

class Random
{
public:
    // `entropy` and `key` are what NumPy calls entropy and spawn_key.
    Random(
        const Ziggurat& ziggurat, const std::vector<std::uint64_t>& entropy,
        const std::vector<std::uint64_t>& key = {})
        : ziggurat(ziggurat)
    {
        const std::vector<std::uint64_t> words = seed_words(entropy, key);
        increment = (wide(words[2], words[3]) << 1) | 1;
        state = increment + wide(words[0], words[1]);
        state = state*multiplier + increment;
    }

    // The generator of (seed, stream, index) or, without an index, of what stays frozen in a run.
    static Random of(const Ziggurat& ziggurat, std::uint64_t seed, const std::string& stream)
    {
        return Random(ziggurat, {seed}, {crc32(stream.data(), stream.size())});
    }
    static Random of(
        const Ziggurat& ziggurat, std::uint64_t seed, const std::string& stream,
        std::uint64_t index)
    {
        return Random(ziggurat, {seed}, {crc32(stream.data(), stream.size()), index});
    }

    std::uint64_t bits()
    {
        state = state*multiplier + increment;
        const std::uint64_t high = state >> 64, mixed = high ^ (std::uint64_t)state;
        const unsigned turn = high >> 58;
        return (mixed >> turn) | (mixed << (-turn & 63));
    }

    // From 0 to below 1.
    double uniform()
    {
        return (bits() >> 11)*(1.0/9007199254740992.0);
    }

    // From 0 to below n, which must be below 2^32.
    std::uint32_t below(std::uint32_t n)
    {
        std::uint64_t product = (std::uint64_t)half()*n;
        if ((std::uint32_t)product < n)
        {
            const std::uint32_t least = -n % n;
            while ((std::uint32_t)product < least)
                product = (std::uint64_t)half()*n;
        }
        return product >> 32;
    }

    double exponential()
    {
        const Layers& layers = ziggurat.exponential;
        for (;;)
        {
            const std::uint64_t drawn = bits() >> 3, number = drawn >> 8;
            const int layer = drawn & 255;
            const double x = number*layers.width[layer];
            if (number < layers.inside[layer])
                return x;
            if (layer == 0)
                return exponential_tail - std::log1p(-uniform());
            if (below_density(layers, layer, std::exp(-x)))
                return x;
        }
    }

    double normal()
    {
        const Layers& layers = ziggurat.normal;
        for (;;)
        {
            const std::uint64_t drawn = bits(), number = (drawn >> 9) & 0x000fffffffffffff;
            const int layer = drawn & 255;
            const bool negative = (drawn >> 8) & 1;
            const double size = number*layers.width[layer], x = negative ? -size : size;
            if (number < layers.inside[layer])
                return x;
            if (layer == 0)
                return (number >> 8) & 1 ? -beyond_tail() : beyond_tail();
            if (below_density(layers, layer, std::exp(-0.5*x*x)))
                return x;
        }
    }

private:
    typedef unsigned __int128 Wide;

    static constexpr double normal_tail = 3.6541528853610087963519472518;
    static constexpr double inverse_normal_tail = 0.27366123732975827203338247596;
    static constexpr double exponential_tail = 7.69711747013104972;
    static constexpr Wide multiplier = ((Wide)2549297995355413924ULL << 64) + 4865540595714422341ULL;

    const Ziggurat& ziggurat;
    Wide state, increment;
    bool has_half = false;
    std::uint32_t kept_half = 0;

    static Wide wide(std::uint64_t high, std::uint64_t low)
    {
        return ((Wide)high << 64) | low;
    }

    std::uint32_t half()
    {
        if (has_half)
        {
            has_half = false;
            return kept_half;
        }
        const std::uint64_t drawn = bits();
        has_half = true;
        kept_half = drawn >> 32;
        return (std::uint32_t)drawn;
    }

    bool below_density(const Layers& layers, int layer, double density)
    {
        const double low = layers.density[layer], high = layers.density[layer - 1];
        return (high - low)*uniform() + low < density;
    }

    double beyond_tail()
    {
        for (;;)
        {
            const double x = -inverse_normal_tail*std::log1p(-uniform());
            const double y = -std::log1p(-uniform());
            if (y + y > x*x)
                return normal_tail + x;
        }
    }

    static void append(std::vector<std::uint32_t>& words, std::uint64_t number)
    {
        words.push_back((std::uint32_t)number);
        if (number >> 32)
            words.push_back(number >> 32);
    }

    // Four words of 64 bits from what the generator is seeded with.
    static std::vector<std::uint64_t> seed_words(
        const std::vector<std::uint64_t>& entropy, const std::vector<std::uint64_t>& key)
    {
        const std::size_t size = 4;
        std::vector<std::uint32_t> given;
        for (const std::uint64_t number : entropy)
            append(given, number);
        if (!key.empty() && given.size() < size)
            given.resize(size, 0);
        for (const std::uint64_t number : key)
            append(given, number);

        std::uint32_t constant = 0x43b0d7e5, pool[size];
        const auto hashed = [&constant](std::uint32_t value) {
            value ^= constant;
            constant *= 0x931e8875;
            value *= constant;
            return value ^ (value >> 16);
        };
        const auto mixed = [](std::uint32_t x, std::uint32_t y) {
            const std::uint32_t value = 0xca01f9dd*x - 0x4973f715*y;
            return value ^ (value >> 16);
        };
        for (std::size_t i = 0; i < size; i++)
            pool[i] = hashed(i < given.size() ? given[i] : 0);
        for (std::size_t from = 0; from < size; from++)
            for (std::size_t to = 0; to < size; to++)
                if (from != to)
                    pool[to] = mixed(pool[to], hashed(pool[from]));
        for (std::size_t from = size; from < given.size(); from++)
            for (std::size_t to = 0; to < size; to++)
                pool[to] = mixed(pool[to], hashed(given[from]));

        std::vector<std::uint64_t> words(4, 0);
        constant = 0x8b51f9dd;
        for (std::size_t i = 0; i < 8; i++)
        {
            std::uint32_t value = pool[i % size] ^ constant;
            constant *= 0x58f38ded;
            value *= constant;
            value ^= value >> 16;
            words[i/2] |= (std::uint64_t)value << (32*(i % 2));
        }
        return words;
    }
};
}
#endif
