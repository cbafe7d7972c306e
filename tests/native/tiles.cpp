// Sums over rows, and lists of spikes, of numbers that tests/native/test_native.py knows too.
#include "tiles.h"

#include <cstdio>
#include <vector>

// A cache line of numbers, where arrays begin.
template <typename Real>
struct alignas(64) Line
{
    Real values[64/sizeof(Real)];
};

// Row r has elements .1*(r*r*r + i).
template <typename Real, typename Sums, int width>
void print_sums(const std::vector<std::int32_t>& spikes, int n_rows)
{
    std::vector<Line<Real>> lines(n_rows*width*sizeof(Real)/64 + 1);
    Real* const rows = lines[0].values;
    for (int r = 0; r < n_rows; r++)
        for (int i = 0; i < width; i++) rows[r*width + i] = Real(.1)*Real(r*r*r + i);
    Sums sums = {};
    eprop_brian::add_rows(sums, rows, width, spikes.data(), 0, (int)spikes.size());
    Real values[width];
    std::memcpy(values, sums, sizeof values);
    for (Real value : values) std::printf("%.17g ", value);
}

// Neurons of n in whole registers whose z is not 0, and how often each was counted.
template <typename Real>
void print_lists(int n, int width)
{
    std::vector<Line<Real>> z(width), counts(width);
    Real *const spiking = z[0].values, *const counted = counts[0].values;
    // What fills up the last register may be anything.
    for (int i = 0; i < width; i++) spiking[i] = i >= n || i % 7 == 2 || i == n - 1;
    std::vector<std::int32_t> list(n + 1, -1);
    int end = 1;
    end = eprop_brian::list_spikes(spiking, 0, width, n, list.data(), end, counted);
    for (int k = 1; k < end; k++) std::printf("%d %g ", list[k], counted[list[k]]);
}

int main()
{
    const std::vector<std::int32_t> spikes = {3, 0, 6, 5, 2, 1, 4};
    print_sums<double, eprop_brian::Registers<double, 8>::type, 8>(spikes, 7);
    print_sums<double, eprop_brian::Registers<double, 136>::type, 136>(spikes, 7);
    print_sums<float, eprop_brian::Registers<float, 48>::type, 48>(spikes, 7);
    print_sums<float, float[3], 3>(spikes, 7);
    std::puts("");
    print_lists<double>(150, 152);
    print_lists<float>(67, 80);
    std::puts("");
}
