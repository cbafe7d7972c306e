// Neurons a tile at a time: what arrives at them is summed in registers, and who spikes is found in
// the sign of a vector.
#ifndef EPROP_BRIAN_TILES_H
#define EPROP_BRIAN_TILES_H

#include <cstddef>
#include <cstdint>
#include <cstring>

#define EPROP_BRIAN_INLINE inline __attribute__((always_inline))

namespace eprop_brian
{
#if defined(__AVX512F__)
const int register_bytes = 64;
#elif defined(__AVX__)
const int register_bytes = 32;
#else
const int register_bytes = 16;
#endif
// The comparison "greater" of AVX-512.
const int greater = 0x1e;
// Registers that hold sums, half of those that there are.
#if defined(__AVX512F__) || defined(__aarch64__)
const int most_sums = 16;
#else
const int most_sums = 8;
#endif

// A vector register of numbers, and as many as hold n of them.
template <typename Real>
struct Register
{
    typedef Real type __attribute__((vector_size(register_bytes), may_alias));
};

template <typename Real, int n>
struct Registers
{
    typedef typename Register<Real>::type type[n*sizeof(Real)/register_bytes];
};

// The rows of spikes s to end are added to n sums, in the order of the spikes.
template <int n, typename Sum, typename Real>
EPROP_BRIAN_INLINE void add_to_sums(
    Sum* __restrict sums, const Real* weights, std::size_t width, const std::int32_t* spikes,
    std::ptrdiff_t s, std::ptrdiff_t end)
{
    Sum sum[n];
    for (int k = 0; k < n; k++) sum[k] = sums[k];
    for (; s < end; s++)
    {
        const Sum* const row = (const Sum*)(weights + spikes[s]*width);
        for (int k = 0; k < n; k++) sum[k] += row[k];
    }
    for (int k = 0; k < n; k++) sums[k] = sum[k];
}

// The same for any number of sums, as many at a time as there are registers for.
template <typename Real, typename Sum, int n>
EPROP_BRIAN_INLINE void add_rows(
    Sum (&sums)[n], const Real* weights, std::size_t width, const std::int32_t* spikes,
    std::ptrdiff_t s, std::ptrdiff_t end)
{
    const int per_sum = sizeof(Sum)/sizeof(Real), last = n % most_sums;
    for (int k = 0; k + most_sums <= n; k += most_sums)
        add_to_sums<most_sums>(sums + k, weights + k*per_sum, width, spikes, s, end);
    if (last)
        add_to_sums<last ? last : 1>(
            sums + (n - last), weights + (n - last)*per_sum, width, spikes, s, end);
}

// Bits of the numbers in a register that are above 0. These are built into compilers; the header
// that names them takes a third of a second to read.
EPROP_BRIAN_INLINE std::uint64_t above_0(const double* z)
{
    typedef Register<double>::type Numbers;
    const Numbers numbers = *(const Numbers*)z, zero = {};
#if defined(__AVX512F__)
    return (unsigned char)__builtin_ia32_cmppd512_mask(numbers, zero, greater, -1, 4);
#elif defined(__AVX__)
    return __builtin_ia32_movmskpd256((Numbers)(numbers > zero));
#elif defined(__SSE2__)
    return __builtin_ia32_movmskpd((Numbers)(numbers > zero));
#else
    return (std::uint64_t)(z[0] > 0) | (std::uint64_t)(z[1] > 0) << 1;
#endif
}

EPROP_BRIAN_INLINE std::uint64_t above_0(const float* z)
{
    typedef Register<float>::type Numbers;
    const Numbers numbers = *(const Numbers*)z, zero = {};
#if defined(__AVX512F__)
    return (unsigned short)__builtin_ia32_cmpps512_mask(numbers, zero, greater, -1, 4);
#elif defined(__AVX__)
    return __builtin_ia32_movmskps256((Numbers)(numbers > zero));
#elif defined(__SSE2__)
    return __builtin_ia32_movmskps((Numbers)(numbers > zero));
#else
    std::uint64_t bits = 0;
    for (int k = 0; k < 4; k++) bits |= (std::uint64_t)(z[k] > 0) << k;
    return bits;
#endif
}

// Neurons first to end whose z is above 0 are appended to a list and counted, where there are
// counts; end is that of whole registers, of which only the first n neurons are any. Returns where
// the list ends.
template <typename Real, typename Place>
EPROP_BRIAN_INLINE Place list_spikes(
    const Real* z, int first, int end, int n, std::int32_t* list, Place listed, Real* counts)
{
    const int lanes = register_bytes/sizeof(Real);
    for (; first < end; first += 64)
    {
        std::uint64_t bits = 0;
        for (int k = 0; k < 64 && first + k < end; k += lanes) bits |= above_0(z + first + k) << k;
        if (n - first < 64) bits &= ~(~(std::uint64_t)0 << (n - first));
        for (; bits; bits &= bits - 1)
        {
            const int neuron = first + __builtin_ctzll(bits);
            list[listed++] = neuron;
            if (counts) counts[neuron] += 1;
        }
    }
    return listed;
}
}
#endif
