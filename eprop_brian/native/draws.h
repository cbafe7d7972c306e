// Random numbers of neurons, each a function of where and when it is drawn, bit for bit those of
// eprop_brian/base/random.py, which has the formulas in words.
//
// Whatever a program is compiled with, what is computed here is rounded after every operation: fast
// mathematics and contracted multiplications would give other last digits on every processor.
#ifndef EPROP_BRIAN_DRAWS_H
#define EPROP_BRIAN_DRAWS_H

#include <math.h>
#include <stdint.h>

#ifdef __CUDACC__
#define ON_BOTH __host__ __device__
#else
#define ON_BOTH
#endif

#if defined(__clang__)
#pragma float_control(push)
#pragma float_control(precise, on)
#pragma clang fp contract(off)
#elif defined(__GNUC__) && !defined(__CUDACC__)
#pragma GCC push_options
#pragma GCC optimize("no-fast-math", "fp-contract=off")
#endif

namespace eprop_brian
{
// A GPU's compiler fuses what stands in one expression; so does clang with -ffast-math, whatever the
// pragma says, unless it cannot see that a number is a product.
ON_BOTH inline double times(double a, double b)
{
#if defined(__CUDA_ARCH__)
    return __dmul_rn(a, b);
#elif defined(__clang__) && (defined(__x86_64__) || defined(__aarch64__))
    double product = a*b;
#ifdef __x86_64__
    __asm__("" : "+x"(product));
#else
    __asm__("" : "+w"(product));
#endif
    return product;
#else
    return a*b;
#endif
}

ON_BOTH inline double plus(double a, double b)
{
#ifdef __CUDA_ARCH__
    return __dadd_rn(a, b);
#else
    return a + b;
#endif
}

ON_BOTH inline uint64_t upper_word(uint64_t a, uint64_t b)
{
#ifdef __CUDA_ARCH__
    return __umul64hi(a, b);
#else
    return (unsigned __int128)a*b >> 64;
#endif
}

struct Block
{
    uint64_t words[4];
};

// Philox4x64-10 of Salmon et al. 2011: four words for every counter.
ON_BOTH inline Block philox(const Block& counter, uint64_t key_0, uint64_t key_1)
{
    uint64_t a = counter.words[0], b = counter.words[1], c = counter.words[2], d = counter.words[3];
    for (int round = 0; round < 10; round++)
    {
        const uint64_t first = 0xd2e7470ee14c6c93, second = 0xca5a826395121157;
        const uint64_t upper = upper_word(first, a), lower = first*a;
        a = upper_word(second, c) ^ b ^ key_0;
        b = second*c;
        c = upper ^ d ^ key_1;
        d = lower;
        key_0 += 0x9e3779b97f4a7c15;
        key_1 += 0xbb67ae8584caa73b;
    }
    return Block{{a, b, c, d}};
}

// From 0 to below 1.
ON_BOTH inline double uniform_of(uint64_t word) { return (double)(word >> 11)*1.1102230246251565e-16; }

// The sum of coefficients[k]*x^k, from the last on.
template <int n> ON_BOTH inline double polynomial(const double (&coefficients)[n], double x)
{
    double sum = coefficients[n - 1];
    for (int k = n - 2; k >= 0; k--)
        sum = plus(times(sum, x), coefficients[k]);
    return sum;
}

// By the series of atanh; x is positive.
ON_BOTH inline double logarithm(double x)
{
    const double terms[] = {1.0, 1.0/3, 1.0/5, 1.0/7, 1.0/9, 1.0/11, 1.0/13, 1.0/15, 1.0/17, 1.0/19,
                            1.0/21};
    int exponent;
    double mantissa = frexp(x, &exponent);
    if (mantissa < 0.7071067811865476)
    {
        mantissa *= 2.0;
        exponent--;
    }
    const double s = (mantissa - 1.0)/(mantissa + 1.0);
    const double series = polynomial(terms, times(s, s));
    return plus(times(exponent, 0.6931471805599453), times(2.0*s, series));
}

// Of an angle in turns, from 0 to 1, by their series within an eighth of a turn.
ON_BOTH inline void cosine_and_sine(double turns, double& cosine, double& sine)
{
    const double odd[] = {1.0, -1.0/6, 1.0/120, -1.0/5040, 1.0/362880, -1.0/39916800,
                          1.0/6227020800.0, -1.0/1307674368000.0, 1.0/355687428096000.0};
    const double even[] = {1.0, -1.0/2, 1.0/24, -1.0/720, 1.0/40320, -1.0/3628800, 1.0/479001600,
                           -1.0/87178291200.0, 1.0/20922789888000.0, -1.0/6402373705728000.0};
    const double quarters = floor(plus(4.0*turns, 0.5));
    const double x = times(plus(4.0*turns, -quarters), 1.5707963267948966), square = times(x, x);
    const double s = times(x, polynomial(odd, square)), c = polynomial(even, square);
    const int quarter = (int)quarters % 4;
    cosine = quarter == 0 ? c : quarter == 1 ? -s : quarter == 2 ? -c : s;
    sine = quarter == 0 ? s : quarter == 1 ? c : quarter == 2 ? -s : -c;
}

// Two normal numbers of mean 0 and variance 1.
ON_BOTH inline void two_normals(double first, double second, double& one, double& other)
{
    const double radius = sqrt(-2.0*logarithm(1.0 - first));
    cosine_and_sine(second, one, other);
    one = times(one, radius);
    other = times(other, radius);
}

// The words of a draw of a neuron in a step; the halves of a trial's key come one by one.
ON_BOTH inline Block neuron_words(
    uint32_t low, uint32_t high, uint64_t step, uint64_t neuron, uint64_t population, uint64_t number)
{
    return philox(Block{{step, neuron, number, population}}, (uint64_t)high << 32 | low, 0);
}

ON_BOTH inline double neuron_uniform(
    uint32_t low, uint32_t high, uint64_t step, uint64_t neuron, uint64_t population, uint64_t number)
{
    return uniform_of(neuron_words(low, high, step, neuron, population, number).words[0]);
}

ON_BOTH inline double neuron_normal(
    uint32_t low, uint32_t high, uint64_t step, uint64_t neuron, uint64_t population, uint64_t number)
{
    const Block drawn = neuron_words(low, high, step, neuron, population, number);
    double one, other;
    two_normals(uniform_of(drawn.words[0]), uniform_of(drawn.words[1]), one, other);
    return one;
}
}

#if defined(__clang__)
#pragma float_control(pop)
#elif defined(__GNUC__) && !defined(__CUDACC__)
#pragma GCC pop_options
#endif
#endif
