// Prints random numbers as an exported program draws them: TABLES SEED INDEX STREAM KIND COUNT.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "random.h"

using namespace eprop_brian;

int main(int, char** arguments)
{
    const Ziggurat ziggurat(Archive::read(arguments[1]));
    const std::uint64_t seed = std::strtoull(arguments[2], nullptr, 10);
    const std::uint64_t index = std::strtoull(arguments[3], nullptr, 10);
    Random random = Random::of(ziggurat, seed, arguments[4], index);
    const std::string kind = arguments[5];
    for (int i = std::atoi(arguments[6]); i > 0; i--)
    {
        if (kind == "integers")
        {
            // In turn: half of a drawn word waits for the next whole number.
            std::printf("%u\n", random.below(7));
            std::printf("%.17g\n", random.uniform());
        }
        else
            std::printf("%.17g\n", kind == "normal" ? random.normal() : random.exponential());
    }
}
