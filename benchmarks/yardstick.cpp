// How fast a trial of e-prop can be on one core: the `factored` program written by hand for LIF and
// ALIF neurons, the piecewise linear surrogate, one or two readouts and dense connectivity.
//
// State and weights carry their constant factors, so that no step pays for them: `u` already is
// alpha*v - v_th*z, to which the next step's rows of weights are added, and the weights are zeta*w
// (zeta_out*w to the readouts). Neurons come in tiles of up to four vectors, whose state stays in
// registers through all rows of a step, and through all steps of the backward pass. What that pass
// writes for a tile is used up before the next tile overwrites it, and stays in the L2 cache.
//
// Usage: yardstick PROBLEM RESULT | yardstick probe BYTES... (files: see yardstick.py)

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iostream>
#include <limits>
#include <new>
#include <numeric>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>
#ifdef __SSE__
#include <immintrin.h>
#endif
#ifdef __linux__
#include <sys/mman.h>
#endif

#ifdef __AVX512DQ__
constexpr int vector_bytes = 64;
#else
constexpr int vector_bytes = 32;
#endif

static double now()
{
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Of the processor: what else runs on the machine does not count.
static double processor_seconds() { return double(std::clock()) / CLOCKS_PER_SEC; }

// What yardstick.py writes: counts, numbers and arrays, in the order of these members.
struct Problem {
    struct {
        int64_t single, n, n_lif, n_in, n_out, n_steps, window, batch_size, n_trials, n_patterns,
            n_targets, target_steps, n_input_spikes, refractory, softmax, symmetric, adam, repeats;
    } count;
    struct {
        double alpha, rho, kappa, v_th, beta, gamma, zeta, zeta_out, c_reg, spikes_per_step,
            gradient_scale, loss_scale, eta, w_min, w_max, beta_1, beta_2, epsilon;
    } value;
    std::vector<double> w_in, w_rec, w_out, B, targets;
    // Rows of a trial; input spikes by pattern and step, and where each step's begin.
    std::vector<int32_t> pattern, target, first_input, inputs;

    explicit Problem(const char* path)
    {
        std::ifstream file(path, std::ios::binary);
        file.exceptions(std::ios::failbit | std::ios::badbit);
        file.read((char*)&count, sizeof count);
        file.read((char*)&value, sizeof value);
        const auto read = [&file](auto& values, int64_t size) {
            values.resize(size);
            file.read((char*)values.data(), size * sizeof values[0]);
        };
        read(w_in, count.n * count.n_in);
        read(w_rec, count.n * count.n);
        read(w_out, count.n_out * count.n);
        read(B, count.n * count.n_out);
        read(targets, count.n_targets * count.target_steps * count.n_out);
        read(pattern, count.n_trials);
        read(target, count.n_trials);
        read(first_input, count.n_patterns * (count.n_steps + 1));
        read(inputs, count.n_input_spikes);
    }
};

// Zeros, aligned for vectors; on large pages where it is large and the system has them.
template <typename T>
struct Array {
    const size_t size;
    T* const data;

    explicit Array(size_t n) : size(n), data((T*)std::aligned_alloc(alignment(), rounded()))
    {
        if (!data) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
        if (alignment() == page) madvise(data, rounded(), MADV_HUGEPAGE);
#endif
        clear();
    }
    Array(const Array&) = delete;
    ~Array() { std::free(data); }
    void clear() { std::memset(data, 0, size * sizeof(T)); }
    T& operator[](size_t i) { return data[i]; }

private:
    static constexpr size_t page = size_t(1) << 21;
    size_t alignment() const { return size * sizeof(T) < page ? 64 : page; }
    size_t rounded() const
    {
        return (size * sizeof(T) + alignment() - 1) / alignment() * alignment();
    }
};

template <typename Real, int Outputs>
class Yardstick {
    typedef Real Vec __attribute__((vector_size(vector_bytes)));
    static constexpr int lanes = vector_bytes / sizeof(Real), tile = 4;

    const Problem& p;
    const int n, n_in, T, sources, vectors, padded;
    const Real alpha, rho, kappa, v_th, height, slope, refractory;
    const size_t to_readout;  // where the weights to the readouts begin
    Array<Real> u, adaptation, beta, counter, rate, gain, psi, lambda, error;
    Array<Real> weights, gradient, m, s;  // a row of neurons per source, then [neuron][readout]
    Array<int32_t> times, arrivals;       // when the spikes of a source arrive, and how many do
    std::vector<int32_t> active, fired;
    int updates = 0;

public:
    enum { forward_, backward_, accumulate_, update_, n_stages };
    std::vector<double> seconds, losses, spikes, first_gradient;

    explicit Yardstick(const Problem& problem)
        : p(problem), n(p.count.n), n_in(p.count.n_in), T(p.count.n_steps), sources(n_in + n),
          vectors((n + lanes - 1) / lanes), padded(vectors * lanes), alpha(p.value.alpha),
          rho(p.value.rho), kappa(p.value.kappa), v_th(p.value.v_th),
          height(p.value.gamma / p.value.v_th), slope(height / v_th), refractory(p.count.refractory),
          to_readout(size_t(sources) * padded), u(padded), adaptation(padded), beta(padded),
          counter(padded), rate(padded), gain(Outputs * padded), psi(size_t(T) * padded),
          lambda(size_t(T + 1) * tile * lanes), error(size_t(T) * Outputs),
          weights(to_readout + n * Outputs), gradient(weights.size), m(weights.size),
          s(weights.size), times(size_t(sources) * (T + 1)), arrivals(sources), active(sources),
          fired(n)
    {
        for (int j = p.count.n_lif; j < n; j++) beta[j] = p.value.beta;
    }

    // All trials once, from the initial weights.
    void run()
    {
        const bool first = seconds.empty();
        double stage[n_stages] = {};
        load();
        const double begun = processor_seconds();
        for (int trial = 0; trial < p.count.n_trials; trial++) {
            const double start = now();
            const double loss = p.count.refractory ? forward<true>(trial) : forward<false>(trial);
            double before = now(), after;
            stage[forward_] += before - start;
            filter_errors();
            for (int v = 0; v < vectors; v += tile)
                with_width(v, [&](auto W) {
                    backward<W>(v);
                    after = now();
                    stage[backward_] += after - before;
                    accumulate<W>(v);
                    before = now();
                    stage[accumulate_] += before - after;
                });
            accumulate_readout();
            after = now();
            stage[accumulate_] += after - before;
            if (first) {
                losses.push_back(loss * p.value.loss_scale);
                spikes.push_back(0);
                for (int i = n_in; i < sources; i++) spikes.back() += arrivals[i];
            }
            if ((trial + 1) % p.count.batch_size) continue;
            if (first && updates == 0) {
                const double mean = p.value.gradient_scale / p.count.batch_size;
                first_gradient = matrices(gradient, mean * p.value.zeta, mean * p.value.zeta_out);
            }
            before = now();
            update();
            stage[update_] += now() - before;
        }
        // The stages share the processor's time as they do the clock's, which costs less to read.
        const double processor = processor_seconds() - begun;
        const double elapsed = std::accumulate(stage, stage + n_stages, 0.0);
        for (double s : stage) seconds.push_back(s * processor / elapsed);
    }

    std::vector<double> final_weights()
    {
        return matrices(weights, 1 / p.value.zeta, 1 / p.value.zeta_out);
    }

private:
    static Vec* vec(Array<Real>& array, size_t first) { return (Vec*)array.data + first; }
    size_t at(int source, int neuron) const { return size_t(source) * padded + neuron; }

    // Calls f with the number of vectors of the tile at v, as a constant.
    template <typename F>
    void with_width(int v, F f) const
    {
        switch (std::min(tile, vectors - v)) {
            case 1: return f(std::integral_constant<int, 1>());
            case 2: return f(std::integral_constant<int, 2>());
            case 3: return f(std::integral_constant<int, 3>());
            default: return f(std::integral_constant<int, tile>());
        }
    }

    void load()
    {
        for (int j = 0; j < n; j++) {
            for (int i = 0; i < n_in; i++) weights[at(i, j)] = p.value.zeta * p.w_in[j * n_in + i];
            for (int i = 0; i < n; i++)
                weights[at(n_in + i, j)] = p.value.zeta * p.w_rec[size_t(j) * n + i];
            for (int k = 0; k < Outputs; k++) {
                weights[to_readout + j * Outputs + k] = p.value.zeta_out * p.w_out[k * n + j];
                gain[k * padded + j] = p.value.zeta_out * p.B[j * Outputs + k];
            }
        }
        for (auto* sums : {&gradient, &m, &s}) sums->clear();
        updates = 0;
    }

    // w_in, w_rec and w_out as [post, pre], one after the other.
    std::vector<double> matrices(Array<Real>& from, double factor, double factor_out)
    {
        std::vector<double> all;
        for (int j = 0; j < n; j++)
            for (int i = 0; i < n_in; i++) all.push_back(factor * from[at(i, j)]);
        for (int j = 0; j < n; j++)
            for (int i = 0; i < n; i++) all.push_back(i == j ? 0 : factor * from[at(n_in + i, j)]);
        for (int k = 0; k < Outputs; k++)
            for (int j = 0; j < n; j++)
                all.push_back(factor_out * from[to_readout + j * Outputs + k]);
        return all;
    }

    template <bool Refractory>
    double forward(int trial)
    {
        for (auto* state : {&u, &adaptation, &counter, &error}) state->clear();
        arrivals.clear();
        // What fills up the last vector stays infinitely far from threshold.
        for (int j = n; j < padded; j++) u[j] = -std::numeric_limits<Real>::infinity();
        const int32_t* const first_input = &p.first_input[size_t(p.pattern[trial]) * (T + 1)];
        const int64_t row = p.target[trial] * p.count.target_steps;
        Real y[Outputs] = {};
        double loss = 0;
        int n_fired = 0;
        for (int t = 0; t < T; t++) {
            int n_active = 0;
            for (int i = first_input[t]; i < first_input[t + 1]; i++)
                active[n_active++] = p.inputs[i];
            for (int i = 0; i < n_fired; i++) active[n_active++] = n_in + fired[i];
            for (int i = 0; i < n_active; i++) arrive(active[i], t);
            n_fired = 0;
            for (int v = 0; v < vectors; v += tile)
                with_width(v, [&](auto W) {
                    const bool adaptive = (v + W) * lanes > p.count.n_lif;
                    uint64_t spiked = adaptive ? step<W, true, Refractory>(v, n_active, t)
                                               : step<W, false, Refractory>(v, n_active, t);
                    for (; spiked; spiked &= spiked - 1)
                        fired[n_fired++] = v * lanes + __builtin_ctzll(spiked);
                });
            for (Real& yk : y) yk *= kappa;
            for (int i = 0; i < n_fired; i++)
                for (int k = 0; k < Outputs; k++)
                    y[k] += weights[to_readout + fired[i] * Outputs + k];
            if (t < T - p.count.window) continue;
            const int64_t now = p.count.target_steps > 1 ? row + t : row;
            loss += step_loss(y, &p.targets[now * Outputs], &error[t * Outputs]);
        }
        for (int i = 0; i < n_fired; i++) arrive(n_in + fired[i], T);  // too late: lambda[T] = 0
        return loss;
    }

    void arrive(int source, int t) { times[size_t(source) * (T + 1) + arrivals[source]++] = t; }

    static double step_loss(const Real* y, const double* target, Real* error)
    {
        double loss = 0;
        for (int k = 0; k < Outputs; k++)
            if (Outputs == 1) {
                error[k] = y[k] - Real(target[k]);
                loss += error[k] * error[k] / 2;
            } else {
                Real sum = 0;
                for (int l = 0; l < Outputs; l++) sum += std::exp(y[l] - y[k]);
                error[k] = 1 / sum - Real(target[k]);
                loss += Real(target[k]) * std::log(sum);
            }
        return loss;
    }

    // One step of W vectors of neurons; returns who spiked, one bit a neuron.
    template <int W, bool Adaptive, bool Refractory>
    uint64_t step(int first, int n_active, int t)
    {
        Vec *const __restrict state = vec(u, first), *const __restrict slow = vec(adaptation, first),
            *const __restrict left = vec(counter, first);
        Vec* const __restrict stored = vec(psi, size_t(t) * vectors + first);
        const Vec* const strength = vec(beta, first);
        const Vec zero = {}, one = zero + 1, threshold = zero + v_th, peak = zero + height,
                  slope = zero + this->slope, pause = zero + refractory;
        const Real alpha = this->alpha, rho = this->rho;
        Vec v[W];
        for (int w = 0; w < W; w++) v[w] = state[w];
        for (int i = 0; i < n_active; i++) {
            const Vec* const row = vec(weights, size_t(active[i]) * vectors + first);
            for (int w = 0; w < W; w++) v[w] += row[w];
            for (int w = 0; w < W; w++) __builtin_prefetch(row + W + w);  // of the next tile
        }
        uint64_t spiked = 0;
        for (int w = 0; w < W; w++) {
            Vec margin = v[w] - threshold;
            if (Adaptive) margin -= strength[w] * slow[w];
            const Vec rising = peak + margin * slope, falling = peak - margin * slope;
            Vec bump = rising < falling ? rising : falling;
            bump = bump > zero ? bump : zero;
            auto z = margin >= zero;
            if (Refractory) {
                const Vec now = left[w] - one;
                const auto free = now <= zero;
                z = z & free;
                bump = free ? bump : zero;
                left[w] = z ? pause : now;
            }
            stored[w] = bump;
            state[w] = alpha * v[w] - (z ? threshold : zero);
            if (Adaptive) slow[w] = rho * slow[w] + (z ? one : zero);
            spiked |= bits(z) << (w * lanes);
        }
        return spiked;
    }

    template <typename Mask>
    static uint64_t bits(Mask z)
    {
#ifdef __AVX512DQ__
        return lanes == 8 ? _mm512_movepi64_mask((__m512i)z) : _mm512_movepi32_mask((__m512i)z);
#elif defined __AVX__
        return lanes == 4 ? _mm256_movemask_pd((__m256d)z) : _mm256_movemask_ps((__m256)z);
#else
        uint64_t set = 0;
        for (int l = 0; l < lanes; l++) set |= uint64_t(z[l] != 0) << l;
        return set;
#endif
    }

    // Errors filtered backwards by the readout, and every neuron's factor of the rate regulariser.
    void filter_errors()
    {
        for (int t = T - 2; t >= 0; t--)
            for (int k = 0; k < Outputs; k++)
                error[t * Outputs + k] += kappa * error[(t + 1) * Outputs + k];
        for (int j = 0; j < n; j++)
            rate[j] = p.value.c_reg * (arrivals[n_in + j] / double(T) - p.value.spikes_per_step) / T;
    }

    template <int W>
    void backward(int first)
    {
        if ((first + W) * lanes > p.count.n_lif) backward<W, true>(first);
        else backward<W, false>(first);
    }

    template <int W, bool Adaptive>
    void backward(int first)
    {
        const Vec* const stored = vec(psi, first);
        Vec* const result = vec(lambda, 0);
        const Real alpha = this->alpha, rho = this->rho;
        Vec mu_v[W] = {}, mu_a[W] = {}, b[Outputs][W], r[W], strength[W];
        for (int w = 0; w < W; w++) {
            for (int k = 0; k < Outputs; k++) b[k][w] = vec(gain, k * vectors + first)[w];
            r[w] = vec(rate, first)[w];
            strength[w] = vec(beta, first)[w];
            result[size_t(T) * W + w] = Vec{};
        }
        for (int t = T - 1; t >= 0; t--)
            for (int w = 0; w < W; w++) {
                Vec g = r[w];
                for (int k = 0; k < Outputs; k++) g += b[k][w] * error[t * Outputs + k];
                if (Adaptive) g += mu_a[w];
                g *= stored[size_t(t) * vectors + w];
                if (Adaptive) mu_a[w] = rho * mu_a[w] - strength[w] * g;
                mu_v[w] = alpha * mu_v[w] + g;
                result[size_t(t) * W + w] = mu_v[w];
            }
    }

    template <int W>
    void accumulate(int first)
    {
        for (int i = 0; i < sources; i++) {
            const int32_t* const time = &times[size_t(i) * (T + 1)];
            Vec* const row = vec(gradient, size_t(i) * vectors + first);
            Vec sum[W];
            for (int w = 0; w < W; w++) sum[w] = row[w];
            for (int a = 0; a < arrivals[i]; a++) {
                const Vec* const now = vec(lambda, size_t(time[a]) * W);
                for (int w = 0; w < W; w++) sum[w] += now[w];
            }
            for (int w = 0; w < W; w++) row[w] = sum[w];
        }
    }

    void accumulate_readout()
    {
        for (int j = 0; j < n; j++) {
            const int32_t* const time = &times[size_t(n_in + j) * (T + 1)];
            // A spike reaches the readouts a step before it arrives at neurons.
            for (int a = 0; a < arrivals[n_in + j]; a++)
                for (int k = 0; k < Outputs; k++)
                    gradient[to_readout + j * Outputs + k] += error[(time[a] - 1) * Outputs + k];
        }
    }

    void update()
    {
        updates++;
        optimize(0, to_readout, p.value.zeta);
        optimize(to_readout, weights.size, p.value.zeta_out);
        for (int j = 0; j < n; j++) weights[at(n_in + j, j)] = 0;
        gradient.clear();
        if (p.count.symmetric)
            for (int j = 0; j < n; j++)
                for (int k = 0; k < Outputs; k++)
                    gain[k * padded + j] = weights[to_readout + j * Outputs + k];
    }

    void optimize(size_t begin, size_t end, double factor)
    {
        const bool adam = p.count.adam;
        const Real mean = factor * p.value.gradient_scale / p.count.batch_size;
        const Real low = factor * p.value.w_min, high = factor * p.value.w_max;
        const Real b1 = p.value.beta_1, b2 = p.value.beta_2, epsilon = p.value.epsilon;
        const double bias_1 = 1 - std::pow(p.value.beta_1, updates);
        const double bias_2 = 1 - std::pow(p.value.beta_2, updates);
        const Real eta = factor * p.value.eta * (adam ? std::sqrt(bias_2) / bias_1 : 1);
        Real *const w = weights.data, *const g = gradient.data, *const m = this->m.data,
             *const s = this->s.data;
        if (adam)
#pragma GCC ivdep
            for (size_t i = begin; i < end; i++) {
                const Real slope = mean * g[i];
                m[i] = b1 * m[i] + (1 - b1) * slope;
                s[i] = b2 * s[i] + (1 - b2) * slope * slope;
                const Real next = w[i] - eta * m[i] / (std::sqrt(s[i]) + epsilon);
                w[i] = std::min(std::max(next, low), high);
            }
        else
#pragma GCC ivdep
            for (size_t i = begin; i < end; i++)
                w[i] = std::min(std::max(w[i] - eta * mean * g[i], low), high);
    }
};

// Bytes per second that one core reads from a buffer of this size, once it is where it fits.
static double read_bandwidth(size_t bytes)
{
    typedef double Vec __attribute__((vector_size(vector_bytes)));
    Array<double> buffer(bytes / sizeof(double));
    const Vec* const data = (const Vec*)buffer.data;
    Vec sum[8] = {};
    const auto pass = [&] {
        for (size_t i = 0; i + 8 <= bytes / sizeof(Vec); i += 8)
            for (int k = 0; k < 8; k++) sum[k] += data[i + k];
        asm volatile("" ::: "memory");
    };
    pass();
    size_t passes = 0;
    const double start = now();
    double seconds = 0;
    for (; seconds < .1; seconds = now() - start, passes++) pass();
    for (int k = 1; k < 8; k++) sum[0] += sum[k];
    volatile double sink = sum[0][0];
    (void)sink;
    return passes * double(bytes) / seconds;
}

// Multiply-adds per second of one core, in registers.
template <typename Real>
static double multiply_add_rate()
{
    typedef Real Vec __attribute__((vector_size(vector_bytes)));
    constexpr int chains = 12, rounds = 20000000;
    const Vec a = Vec{} + Real(.5), b = Vec{} + Real(1);
    Vec x[chains];
    for (int k = 0; k < chains; k++) x[k] = Vec{} + Real(k);  // equal ones would become one
    const double start = now();
    for (int r = 0; r < rounds; r++)
        for (int k = 0; k < chains; k++) x[k] = x[k] * a + b;
    const double seconds = now() - start;
    for (int k = 1; k < chains; k++) x[0] += x[k];
    volatile Real sink = x[0][0];
    (void)sink;
    return double(rounds) * chains * (vector_bytes / sizeof(Real)) / seconds;
}

static double peak_memory_mb()
{
    std::ifstream status("/proc/self/status");
    for (std::string word; status >> word;)
        if (word == "VmHWM:" && status >> word) return std::stod(word) * 1024 / 1e6;
    return std::nan("");
}

template <typename Real, int Outputs>
static void train(const Problem& problem, const char* path)
{
    Yardstick<Real, Outputs> yardstick(problem);
    for (int r = 0; r < problem.count.repeats; r++) yardstick.run();
    const std::vector<double> peak = {peak_memory_mb()};
    std::ofstream file(path, std::ios::binary);
    file.exceptions(std::ios::failbit | std::ios::badbit);
    for (const auto& values : {yardstick.seconds, yardstick.losses, yardstick.spikes,
                               yardstick.first_gradient, yardstick.final_weights(), peak})
        file.write((const char*)values.data(), values.size() * sizeof(double));
}

int main(int n_arguments, char** arguments)
try {
#ifdef __SSE__
    _mm_setcsr(_mm_getcsr() | 0x8040);  // what decays for thousands of steps must not become slow
#endif
    if (n_arguments > 2 && !std::strcmp(arguments[1], "probe")) {
        for (int i = 2; i < n_arguments; i++)
            std::cout << read_bandwidth(std::stoull(arguments[i])) << "\n";
        std::cout << multiply_add_rate<double>() << "\n" << multiply_add_rate<float>() << "\n";
        return 0;
    }
    if (n_arguments != 3) throw std::invalid_argument("PROBLEM and RESULT, or probe and BYTES");
    const Problem problem(arguments[1]);
    const char* const path = arguments[2];
    if (problem.count.n_out != (problem.count.softmax ? 2 : 1))
        throw std::invalid_argument("one readout with squared error, or two with cross-entropy");
    if (problem.count.single && problem.count.softmax) train<float, 2>(problem, path);
    else if (problem.count.single) train<float, 1>(problem, path);
    else if (problem.count.softmax) train<double, 2>(problem, path);
    else train<double, 1>(problem, path);
} catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
}
