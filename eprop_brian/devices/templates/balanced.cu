{# A balanced network on a GPU: the frame of a call, around the step of
   eprop_brian/balanced/step.py, which one block of threads goes through. #}
{# USES_VARIABLES { N } #}
{# ALLOWS_SCALAR_WRITE #}
{% block program %}
#include <math.h>
#include <stdint.h>
#include "device.h"
#include "noise.h"

namespace
{
{{ support_code_lines|join('\n') }}
{{ hashdefine_lines|join('\n') }}
%CONSTANTS%
__global__ void __launch_bounds__({{ memory.threads }}) run_steps(const eprop_brian::Memory _memory)
{
    {{ memory.shared_pointers()|join('\n') }}
    const int _n_steps = {{ ptr(frame.control.n_steps) }}[0];
    const int _record_every = {{ ptr(frame.control.record_every) }}[0];
    const bool _learning = {{ ptr(frame.control.learning) }}[0] > 0;
    const bool _one_spike = {{ ptr(frame.control.one_spike) }}[0] > 0;
    const bool _noisy = {{ ptr(frame.control.sigma) }}[0] != 0;
    const unsigned long long _seed = {{ ptr(frame.control.seed) }}[0];
    int _clock = {{ ptr(frame.control.clock) }}[0], _n_spikes = 0, _n_records = 0, _step = 0;
    __syncthreads();
    // There is room for the spikes of a step, or the call ends: so many are no result.
    for (; _step < _n_steps && _n_spikes + {{ frame.n }} <= {{ frame.n_spikes }}; _step++, _clock++)
    {
    {{ printer(scalar_code, vector_code, memory).phase('step') }}
    }
    if (threadIdx.x == 0)
    {
        {{ ptr(frame.control.clock) }}[0] = _clock;
        {{ ptr(frame.control.n_spikes) }}[0] = _n_spikes;
        {{ ptr(frame.control.n_records) }}[0] = _n_records;
        {{ ptr(frame.control.step) }}[0] = _step;
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
    launch(run_steps, 1, {{ memory.threads }}, memory);
    check(cudaDeviceSynchronize(), "the program failed on the GPU");
}
}
{% endblock %}
