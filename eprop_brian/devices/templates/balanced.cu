{# A balanced network on a GPU: the template owns the loops, Brian2 generated what is inside.
   Blocks and their order are described in eprop_brian/balanced/build.py. #}
{# USES_VARIABLES { N } #}
{# ALLOWS_SCALAR_WRITE #}
{% block program %}
{# Run a block for _neuron from 0 to `n`, shared out among the threads; `cells` are indices into
   other arrays. #}
{% macro each(block, n, cells={}) %}
{
    {{ scalar_code[block]|join('\n') }}
    for (int _neuron = threadIdx.x; _neuron < {{ n }}; _neuron += blockDim.x)
    {
        {% for name, first in cells.items() %}
        const int {{ name }} = {{ first }} + _neuron;
        {% endfor %}
        {{ vector_code[block]|join('\n') }}
    }
}
{% endmacro %}
{# Run a block once; it may write what all neurons share. #}
{% macro once(block, index=none, value=none) %}
if (threadIdx.x == 0)
{
    {% if index %}
    const int {{ index }} = {{ value }};
    {% endif %}
    {{ scalar_code[block]|join('\n') }}
    {
        {{ vector_code[block]|join('\n') }}
    }
}
{% endmacro %}
{# Run a block for row _pre of a matrix with `n` columns. #}
{% macro row(block, n, before=none) %}
{
    {{ scalar_code[block]|join('\n') }}
    for (int _post = threadIdx.x; _post < {{ n }}; _post += blockDim.x)
    {
        const int _synapse = _pre*{{ n }} + _post;
        {% if before is not none %}
        const int _arriving = {{ before }} + _post;
        {% endif %}
        {{ vector_code[block]|join('\n') }}
    }
}
{% endmacro %}
{# Run a block for all rows; what belongs to a column stays in registers. #}
{% macro rows(block, n_pre, n) %}
{
    {% set sums = memory.written(block, '_post') %}
    {{ scalar_code[block]|join('\n') }}
    for (int _post = threadIdx.x; _post < {{ n }}; _post += blockDim.x)
    {
        {{ memory.load(sums) }}
        #pragma unroll 4
        for (int _pre = 0; _pre < {{ n_pre }}; _pre++)
        {
            const int _synapse = _pre*{{ n }} + _post;
            {{ memory.local(vector_code[block], sums) }}
        }
        {{ memory.store(sums) }}
    }
}
{% endmacro %}
#include <math.h>
#include <stdint.h>
#include "device.h"

namespace
{
{{ support_code_lines|join('\n') }}
{{ hashdefine_lines|join('\n') }}
%CONSTANTS%

// A number is a hash of its place: the same on every device, in whatever order they are made.
__device__ unsigned long long _mixed(unsigned long long _z)
{
    _z += 0x9E3779B97F4A7C15ULL;
    _z = (_z ^ (_z >> 30))*0xBF58476D1CE4E5B9ULL;
    _z = (_z ^ (_z >> 27))*0x94D049BB133111EBULL;
    return _z ^ (_z >> 31);
}

// The steps of a call: one block of threads, which go through the stages of a step together.
__global__ void __launch_bounds__({{ plan.threads }}) run_steps(const eprop_brian::Memory _memory)
{
    {{ memory.shared_pointers() }}
    const int _n_steps = {{ ptr(plan.control.n_steps) }}[0];
    const int _record_every = {{ ptr(plan.control.record_every) }}[0];
    const bool _learning = {{ ptr(plan.control.learning) }}[0] > 0;
    const bool _one_spike = {{ ptr(plan.control.one_spike) }}[0] > 0;
    const bool _noisy = {{ ptr(plan.control.sigma) }}[0] != 0;
    const unsigned long long _seed = {{ ptr(plan.control.seed) }}[0];
    int _clock = {{ ptr(plan.control.clock) }}[0];
    int _n_spikes = 0, _n_records = 0, _step = 0;
    {% for k in range(plan.k) %}
    const int _output_{{ k }} = {{ k }};
    {% endfor %}
    __syncthreads();
    // There is room for the spikes of a step, or the call ends: so many are no result.
    for (; _step < _n_steps && _n_spikes + {{ plan.n }} <= {{ plan.n_spikes }}; _step++, _clock++)
    {
        {{ each(plan.receive, plan.k, {'_sample': '_step*%d' % plan.k}) }}
        {{ once(plan.schedule) }}
        {{ each(plan.error, plan.k) }}
        __syncthreads();
        if (_step % _record_every == 0)
        {
            {{ each(plan.record, plan.k, {'_record': '_n_records*%d' % plan.k}) }}
            {{ each(plan.record_v, plan.n, {'_record': '_n_records*%d' % plan.n}) }}
            _n_records++;
        }
        {{ each(plan.zero, plan.n) }}
        {{ rows(plan.project, plan.k, plan.n) }}
        {% if plan.psi is defined %}
        {{ each(plan.psi, plan.n_basis) }}
        {% endif %}
        __syncthreads();
        {% if plan.learn_slow is defined %}
        if (_learning)
        {{ rows(plan.learn_slow, plan.n_basis, plan.n) }}
        else
        {% endif %}
        {{ rows(plan.slow, plan.n_basis, plan.n) }}
        __syncthreads();
        if (_noisy)
        {
            const unsigned long long _place = _mixed(_seed + ((unsigned long long)_clock << 32));
            for (int _i = threadIdx.x; _i < {{ plan.n }}; _i += blockDim.x)
            {
                const unsigned long long _z = _mixed(_place + _i);
                // In double precision on purpose: the same numbers as on other devices.
                const double _radius = sqrt(-2*log(((_z >> 32) + 0.5)/4294967296.0));
                {{ ptr(plan.noise) }}[_i] = _radius*cos(2*M_PI*((_z & 0xFFFFFFFFULL)/4294967296.0));
            }
        }
        {{ each(plan.membrane, plan.n) }}
        {% if plan.rows %}
        {{ each(plan.arrive, plan.n, {'_arriving': '_clock %% %d*%d' % (plan.rows, plan.n)}) }}
        {% endif %}
        {{ once(plan.teacher) }}
        {{ each(plan.decay, plan.n) }}
        {{ each(plan.decay_estimate, plan.k) }}
        {% if plan.decay_basis is defined %}
        {{ each(plan.decay_basis, plan.n_basis) }}
        {% endif %}
        {{ each(plan.candidate, plan.n) }}
        __syncthreads();
        // what fires: the one that is furthest above threshold, or all that are
        const int* const _fired = {{ ptr(plan.spikes.neuron) }} + _n_spikes;
        int _n_fired = 0;
        if (_one_spike)
        {
            const int _first = eprop_brian::first_largest({{ ptr(plan.candidates) }}, {{ plan.n }});
            if (_first >= 0)
            {
                if (threadIdx.x == 0) {{ ptr(plan.spikes.neuron) }}[_n_spikes] = _first;
                _n_fired = 1;
            }
        }
        else
            _n_fired = eprop_brian::list_spikes(
                {{ plan.n }}, [&](int _i) { return {{ ptr(plan.candidates) }}[_i] > 0; }, 0,
                [&](int _i, int _place) { {{ ptr(plan.spikes.neuron) }}[_n_spikes + _place] = _i; });
        __syncthreads();
        {% if plan.learn_fast is defined %}
        if (_learning)
            for (int _s = 0; _s < _n_fired; _s++)
            {
                const int _pre = _fired[_s];
                {{ row(plan.learn_fast, plan.n) }}
            }
        __syncthreads();
        {% endif %}
        for (int _s = 0; _s < _n_fired; _s++)
        {
            const int _pre = _fired[_s];
            if (threadIdx.x == 0) {{ ptr(plan.spikes.step) }}[_n_spikes] = _step;
            _n_spikes++;
            {% if plan.rows %}
            {
                // its own reset at once, the others after the delay
                const int _before = (_clock + {{ plan.rows - 1 }}) % {{ plan.rows }}*{{ plan.n }};
                const {{ plan.real }} _own = {{ ptr(plan.arriving) }}[_before + _pre];
                __syncthreads();
                {{ row(plan.send, plan.n, '_before') }}
                __syncthreads();
                if (threadIdx.x == 0)
                {
                    {{ ptr(plan.arriving) }}[_before + _pre] = _own;
                    const int _post = _pre, _synapse = _pre*{{ plan.n }} + _pre;
                    {{ scalar_code[plan.spike]|join('\n') }}
                    {
                        {{ vector_code[plan.spike]|join('\n') }}
                    }
                }
            }
            {% else %}
            {{ row(plan.spike, plan.n) }}
            {% endif %}
            {{ once(plan.fire, '_neuron', '_pre') }}
            {
                {{ scalar_code[plan.jump]|join('\n') }}
                for (int _neuron = threadIdx.x; _neuron < {{ plan.k }}; _neuron += blockDim.x)
                {
                    const int _synapse = _neuron*{{ plan.n }} + _pre;
                    {{ vector_code[plan.jump]|join('\n') }}
                }
            }
            {% if plan.excite is defined %}
            {{ row(plan.excite, plan.n_basis) }}
            {% endif %}
            __syncthreads();
        }
        __syncthreads();
    }
    if (threadIdx.x == 0)
    {
        {{ ptr(plan.control.clock) }}[0] = _clock;
        {{ ptr(plan.control.n_spikes) }}[0] = _n_spikes;
        {{ ptr(plan.control.n_records) }}[0] = _n_records;
        {{ ptr(plan.control.step) }}[0] = _step;
    }
}
}

namespace eprop_brian
{
Memory allocate()
{
    return Memory::allocate({{ memory.shared_bytes }}ull, 0, 1, 0, 0, 1);
}

void run_call(const Memory& memory)
{
    launch(run_steps, 1, {{ plan.threads }}, memory);
    check(cudaDeviceSynchronize(), "the program failed on the GPU");
}
}
{% endblock %}
