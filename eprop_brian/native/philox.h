// Random numbers of a counter-based generator, bit for bit those of eprop_brian/base/random.py, which
// has the formulas in words.
#ifndef EPROP_BRIAN_PHILOX_H
#define EPROP_BRIAN_PHILOX_H

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "common/crc32.h"
#include "draws.h"

namespace eprop_brian
{
class Random
{
public:
    // The generator of a stream that stays the same in a run.
    Random(std::uint64_t seed, const std::string& stream)
        : key{seed, crc32(stream.data(), stream.size())}
    {
    }
    // That of a batch.
    Random(std::uint64_t seed, const std::string& stream, std::uint64_t index)
        : Random(seed, stream)
    {
        counter.words[2] = index + 1;
    }

    std::uint64_t word()
    {
        if (n_taken == 4)
        {
            counter.words[0]++;
            block = philox(counter, key[0], key[1]);
            n_taken = 0;
        }
        return block.words[n_taken++];
    }

    // From 0 to below 1.
    double uniform() { return uniform_of(word()); }

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
            const double first = uniform(), second = uniform();
            two_normals(first, second, values[i], values[i + 1]);
        }
        values.resize(count);
        return values;
    }

private:
    std::uint64_t key[2];
    Block counter{}, block{};
    int n_taken = 4;
};
}
#endif
