{# Trials of a network on a GPU: kernels, and the frame of a call, around the schedule of
   eprop_brian/network/step. What runs where is told in docs/cuda.md. #}
{# USES_VARIABLES { N } #}
{# ALLOWS_SCALAR_WRITE #}
{% block program %}
{% set print = printer(scalar_code, vector_code, memory) %}
{% set rules = frame.rules %}
{# A stage ends here: what has passed since the last such place was its time. #}
{% macro lap(stage) %}
{% if rules.stages %}
laps.lap({{ rules.stages.index(stage) }});
{% endif %}
{% endmacro %}
#include <math.h>
#include <stdint.h>
#include "device.h"
{% if rules.of_labels %}
#include "ctc.h"
{% endif %}
{% if rules.noise %}
#include "draws.h"
{% endif %}

namespace
{
{{ support_code_lines|join('\n') }}
{{ hashdefine_lines|join('\n') }}
%CONSTANTS%

const int _T = {{ rules.n_steps }};

// Trials of a batch: a block of threads runs a whole trial, on a copy of its own of all that a
// trial changes. All threads go through the nodes of a step together.
__global__ void __launch_bounds__({{ memory.threads }})
run_trials(const eprop_brian::Memory _memory, const int _first_trial, const bool _learning)
{
    {{ memory.shared_pointers()|join('\n') }}
    char* const _own = _memory.copies + (size_t)blockIdx.x*{{ memory.own_bytes }};
    {{ memory.own_pointers()|join('\n') }}
    const int _trial = _first_trial + blockIdx.x;
    {% if rules.lengths %}
    const int _T = {{ ptr(rules.lengths) }}[_trial];
    {% elif rules.steps_of_trial %}
    int _T = {{ rules.n_steps }};
    {% endif %}

    //// start of a trial
    {{ print.phase('places', 1) }}
    {{ print.phase('begin', 1) }}

    for (int _step = 0; _step < _T; _step++)
    {
        const int _now = _before_first + _step;
        {{ print.phase('step', 2) }}
    }

    //// end of a trial
    {{ print.phase('end', 1) }}
}

{{ print.kernels('begin_call', 'refresh', 'update', 'pending') }}
{% if rules.by_trial %}
{{ print.gradient_kernels() }}
{% endif %}
}

namespace eprop_brian
{
Memory allocate()
{
    return Memory::allocate({{ memory.shared_bytes }}ull, {{ memory.own_bytes }}ull, {{ memory.most_copies }},
                            {{ memory.n_partials }}*sizeof({{ print.real }}), {{ memory.n_squares }}, {{ frame.share }});
}

// Runs the trials that the arrays ask for, or, with 0 of them, makes an update.
void run_call(const Memory& memory)
{
    {% if rules.stages %}
    Laps laps;
    {% endif %}
    {{ lap('rest') }}
    const int n_trials = memory.read<int32_t>({{ memory.offset(frame.control.n_trials) }});
    const bool _learning = memory.read<int32_t>({{ memory.offset(frame.control.learning) }}) > 0;
    const bool updating = memory.read<int32_t>({{ memory.offset(frame.control.updating) }}) > 0;
    {{ print.launches('begin_call', 1) }}
    {% if rules.continuous %}
    for (int trial = 0; trial < n_trials; trial++)
        launch(run_trials, 1, {{ memory.threads }}, memory, trial, _learning);
    {{ lap('neurons') }}
    if (n_trials == 0 && updating)
    {
        {{ print.launches('pending', 2) }}
    }
    {% else %}
    const int batch_size = memory.read<int32_t>({{ memory.offset(frame.control.batch_size) }});
    for (int trial = 0; trial < n_trials || (n_trials == 0 && updating);)
    {
        const Wave wave(trial, n_trials, batch_size, updating, memory.n_copies, {{ frame.share }});
        if (wave.n_trials > 0)
        {
            {{ print.launches('refresh', 3) }}
            {{ lap('rest') }}
            launch(run_trials, wave.n_trials, {{ memory.threads }}, memory, trial, _learning);
            {{ lap('neurons') }}
        }
        if (wave.n_trials > 0 && _learning)
        {
            {{ print.launch_backwards(3) }}
            {{ lap('backward') }}
            {{ print.launch_sums(3) }}
            {{ lap('accumulate') }}
            {{ print.launch_neurons() }}
        }
        trial += wave.n_trials;
        if (updating && (n_trials == 0 || trial % batch_size == 0))
        {
            {{ print.launches('update', 3) }}
        }
        if (n_trials == 0) break;
        shown_copy() = wave.n_trials - 1;
    }
    {% endif %}
    {{ lap('rest') }}
    check(cudaDeviceSynchronize(), "the program failed on the GPU");
    {% if rules.stages %}
    laps.write(({{ print.real }}*)(memory.shared + {{ memory.offset(frame.seconds) }}), {{ rules.stages|length }});
    {% endif %}
}
}
{% endblock %}
