// Prints random numbers of native/philox.h: SEED STREAM INDEX KIND COUNT, an index of -1 for none.
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "philox.h"

using namespace eprop_brian;

int main(int, char** arguments)
{
    const std::uint64_t seed = std::strtoull(arguments[1], nullptr, 10);
    const std::string stream = arguments[2], index = arguments[3], kind = arguments[4];
    Random random = index == "-1" ? Random(seed, stream)
                                  : Random(seed, stream, std::strtoull(index.c_str(), nullptr, 10));
    const std::size_t count = std::strtoull(arguments[5], nullptr, 10);
    if (kind == "normals")
        for (const double value : random.normals(count))
            std::printf("%.17g\n", value);
    else if (kind == "permutation")
        for (const std::size_t value : random.permutation(count))
            std::printf("%zu\n", value);
    for (std::size_t i = 0; i < count; i++)
    {
        if (kind == "words")
            std::printf("%" PRIu64 "\n", random.word());
        else if (kind == "uniforms")
            std::printf("%.17g\n", random.uniform());
        else if (kind == "integers")
            std::printf("%u\n", random.below(7));
        else if (kind == "neurons")
            std::printf("%.17g\n", neuron_normal(seed, seed >> 32, i, 3*i, 4000000000u, 2));
    }
}
