{# Trials of a whole network on a GPU: the template owns the loops, Brian2 generated what is inside.
   Blocks and their order are described in eprop_brian/network/build.py, the kernels in docs/cuda.md. #}
{# USES_VARIABLES { N } #}
{# ALLOWS_SCALAR_WRITE #}
{% block program %}
{# --- loops over the threads of a block ----------------------------------------------------- #}
{# Run a block for `index` from 0 to `n`, shared out among the threads; `rows` names where rows of
   other arrays begin, in which the block has the cell of the same number. #}
{% macro each(block, n, rows={}, index='_neuron') %}
{
    {{ scalar_code[block]|join('\n') }}
    for (int {{ index }} = threadIdx.x; {{ index }} < {{ n }}; {{ index }} += blockDim.x)
    {
        {% for cell, row in rows.items() %}
        const int {{ cell }} = {{ row }} + {{ index }};
        {% endfor %}
        {{ vector_code[block]|join('\n') }}
    }
}
{% endmacro %}
{# Set `n` numbers to 0. #}
{% macro clear(first, n) %}
for (int _i = threadIdx.x; _i < {{ n }}; _i += blockDim.x) ({{ first }})[_i] = 0;
{% endmacro %}
{# What one thread does for all. #}
{% macro once() %}if (threadIdx.x == 0){% endmacro %}
{# Where the spikes of a step begin in the list of a source; the step before a trial's first is -1. #}
{% macro begin(source, step) %}{{ ptr(source.first) }}[{{ step }} + 1]{% endmacro %}
{# List the neurons for which `fired` in step _step, in their order. #}
{% macro list_spikes(s, fired) %}
{
    const int _end = eprop_brian::list_spikes(
        {{ s.n }}, [&](int _neuron) { return {{ fired }}; }, {{ begin(s, '_step') }},
        {% if sorts %}
        [&](int _neuron, int _place)
        {
            {{ ptr(s.spikes) }}[_place] = _neuron;
            _rank_{{ s.name }}[_place] = _count_{{ s.name }}[_neuron]++;
        });
        {% else %}
        [&](int _neuron, int _place) { {{ ptr(s.spikes) }}[_place] = _neuron; });
        {% endif %}
    {{ once() }} {{ begin(s, '_step + 1') }} = _end;
    __syncthreads();
}
{% endmacro %}
{# Names of a synapse's ends; `_at` numbers the synapses that there are. #}
{% macro ends(p) %}
{% if p.sparse %}
const int _synapse = _at, _post = {{ ptr(p.post) }}[_at];
const int _pre = eprop_brian::row_of({{ ptr(p.first) }}, {{ p.n_pre }}, _at);
{% else %}
const int _pre = _at / {{ p.n_post }}, _post = _at % {{ p.n_post }};
const int _synapse = _pre*{{ p.width }} + _post;
{% endif %}
{% if p.feedback_width is defined %}
const int _feedback = _post*{{ p.feedback_width }} + _pre;
{% endif %}
{% endmacro %}
{% macro n_synapses(p) %}{{ ptr(p.first) ~ '[%d]' % p.n_pre if p.sparse else p.n_pre*p.n_post }}{% endmacro %}
{# Head of a loop over all synapses of a projection. #}
{% macro synapses(p) %}
for (int _at = threadIdx.x; _at < {{ n_synapses(p) }}; _at += blockDim.x)
{
    {{ ends(p) }}
{% endmacro %}
{# Head of a loop over the synapses of _pre. #}
{% macro row(p) %}
{% if p.sparse %}
for (int _synapse = {{ ptr(p.first) }}[_pre] + threadIdx.x; _synapse < {{ ptr(p.first) }}[_pre + 1];
     _synapse += blockDim.x)
{
    const int _post = {{ ptr(p.post) }}[_synapse];
{% else %}
for (int _post = threadIdx.x; _post < {{ p.n_post }}; _post += blockDim.x)
{
    const int _synapse = _pre*{{ p.width }} + _post;
{% endif %}
    {% if p.feedback_width is defined %}
    const int _feedback = _post*{{ p.feedback_width }} + _pre;
    {% endif %}
{% endmacro %}
{# Steps by which a synapse's delay exceeds the least. #}
{% macro extra(p) %}{{ p.extra if p.extra is number else ptr(p.extra) + '[_synapse]' }}{% endmacro %}
{% macro later(p) %}
{% if p.extra is defined %}
const int _later = (_now + {{ extra(p) }}) % {{ plan.later_rows }}*{{ p.width }} + _post;
{% endif %}
{% endmacro %}
{# Deliver the spikes of `source` in step _from, spike by spike. #}
{% macro deliver(p, source) %}
{
    {{ scalar_code[p.deliver]|join('\n') }}
    const int _end = {{ begin(source, '_from + 1') }};
    {% if p.sparse %}
    // What was delivered before reached the same neurons from other threads.
    __syncthreads();
    for (int _s = {{ begin(source, '_from') }}; _s < _end; _s++)
    {
        const int _pre = {{ ptr(source.spikes) }}[_s];
        {{ row(p) }}
            {{ later(p) }}
            {{ vector_code[p.deliver]|join('\n') }}
        }
        // The next row may reach the same neurons from other threads.
        __syncthreads();
    }
    {% else %}
    {% set sums = memory.written(p.deliver, '_post') %}
    for (int _post = threadIdx.x; _post < {{ p.n_post }}; _post += blockDim.x)
    {
        int _s = {{ begin(source, '_from') }};
        {{ memory.load(sums) }}
        {% if p.deliver_several is defined %}
        for (; _s <= _end - {{ several }}; _s += {{ several }})
        {
            {% for k in range(several) %}
            {% if p.analog %}
            const int _pre_{{ k }} = {{ ptr(source.spikes) }}[_s + {{ k }}];
            {% endif %}
            const int _synapse_{{ k }} = {{ ptr(source.spikes) }}[_s + {{ k }}]*{{ p.width }} + _post;
            {% endfor %}
            {{ memory.local(vector_code[p.deliver_several], sums) }}
        }
        {% endif %}
        for (; _s < _end; _s++)
        {
            const int _pre = {{ ptr(source.spikes) }}[_s];
            const int _synapse = _pre*{{ p.width }} + _post;
            {{ later(p) }}
            {{ memory.local(vector_code[p.deliver], sums) }}
        }
        {{ memory.store(sums) }}
    }
    {% endif %}
}
{% endmacro %}
{# Loop over all pairs of a small matrix that every neuron reads whole. #}
{% macro pairs(block, p) %}
{
    {{ scalar_code[block]|join('\n') }}
    for (int _post = threadIdx.x; _post < {{ p.width }}; _post += blockDim.x)
        for (int _pre = 0; _pre < {{ p.n_pre }}; _pre++)
        {
            const int _synapse = _pre*{{ p.width }} + _post;
            {{ vector_code[block]|join('\n') }}
        }
}
{% endmacro %}
{# What the signal of output _pre reads for neuron _post; `before` is the row of step 0. #}
{% macro sent(f, before) %}
const int _synapse = _pre*{{ f.width }} + _post;
{% if f.delay %}
const int _sent = ({{ before }} - {{ ptr(f.delay) }}[_synapse])*{{ f.n_pre }} + _pre;
{% else %}
const int _sent = ({{ before }})*{{ f.n_pre }} + _pre;
{% endif %}
{% endmacro %}
{# Before the spikes of step _from are delivered: what their arrival does to the synapses. #}
{% macro arrive(p, source) %}
for (int _s = {{ begin(source, '_from') }}; _s < {{ begin(source, '_from + 1') }}; _s++)
{
    const int _pre = {{ ptr(source.spikes) }}[_s];
    if ({{ ptr(p.since) }}[_pre] >= {{ plan.never }}) continue;
    {% if p.decay is defined %}
    __syncthreads();
    {{ once() }} {{ ptr(p.skipped) }}[_pre] = {{ ptr(p.since) }}[_pre] + 1 - {{ plan.cutoff }};
    __syncthreads();
    if ({{ ptr(p.skipped) }}[_pre] > 0)
    {
        {{ scalar_code[p.decay]|join('\n') }}
        {{ row(p) }}
            {{ vector_code[p.decay]|join('\n') }}
        }
    }
    {% endif %}
    {% if plan.updates == 'spike' %}
    {{ update_row(p) }}
    {% endif %}
    __syncthreads();
}
{% endmacro %}
{# The presynaptic side of the traces, once the spikes have entered. #}
{% macro trace_presynaptic(p) %}
{% if plan.continuous %}
// It counts the steps since a spike, by which what the arrival did was decided.
__syncthreads();
{% endif %}
{% if plan.online %}
{{ each(p.pre_trace, p.n_pre) }}
{% endif %}
{% endmacro %}
{# The update of one synapse. #}
{% macro update(p) %}
{% if p.no_autapses is defined %}
if (_pre == _post)
{
    {% for name in p.no_autapses.before %}
    {{ ptr(name) }}[_synapse] = 0;
    {% endfor %}
}
{% endif %}
{
    {{ vector_code[p.optimize]|join('\n') }}
}
{% if p.no_autapses is defined %}
if (_pre == _post) {{ ptr(p.no_autapses.after[0]) }}[_synapse] = 0;
{% endif %}
{% endmacro %}
{# An update of the synapses of _pre, in continuous operation. #}
{% macro update_row(p) %}
{
    __syncthreads();
    {{ once() }} {{ ptr(p.updates) }}[_pre] += 1;
    __syncthreads();
    {{ scalar_code[p.optimize]|join('\n') }}
    {{ row(p) }}
        {{ update(p) }}
    }
}
{% endmacro %}
{# Advance the traces of a projection by `n` steps from step _from on, which are in the windows. #}
{% macro traces(p, block, n) %}
{
    {{ scalar_code[block]|join('\n') }}
    {% for k in range(n) %}
    const int _row_{{ k }} = (_from + {{ k }}) % {{ plan.window_rows }}*{{ p.width }};
    {% endfor %}
    {{ synapses(p) }}
        {% if plan.continuous %}
        if ({{ ptr(p.since) }}[_pre] >= {{ plan.cutoff or plan.never }}) continue;
        {% else %}
        if (!_heard_{{ p.source }}[_pre]) continue;
        {% endif %}
        {% for k in range(n) %}
        const int _post_{{ k }} = _row_{{ k }} + _post;
        {% if p.extra is defined %}
        const int _pre_{{ k }} = (_from + {{ k + p.pre_rows }} - {{ extra(p) }}) % {{ p.pre_rows }}
            *{{ p.n_pre }} + _pre;
        {% else %}
        const int _pre_{{ k }} = (_from + {{ k }}) % {{ p.pre_rows }}*{{ p.n_pre }} + _pre;
        {% endif %}
        {% endfor %}
        {{ vector_code[block]|join('\n') }}
    }
}
{% endmacro %}
{# Feedback weights become the readout weights. #}
{% macro follow(f) %}
{% set w = f.follows %}
{{ synapses(w) }}
    {{ ptr(f.B) }}[_post*{{ f.width }} + _pre] = {{ ptr(w.w) }}[_synapse];
}
{% endmacro %}
{# --- kernels with a thread for every element ------------------------------------------------- #}
{% macro kernel(name, parameters, threads=256) %}
__global__ void __launch_bounds__({{ threads }}) {{ name }}(const eprop_brian::Memory _memory{{ ', ' ~ parameters if parameters }})
{% endmacro %}
{# A stage ends here: what has passed since the last such place was its time. #}
{% macro lap(stage) %}
{% if plan.profile %}
laps.lap({{ plan.stages.index(stage) }});
{% endif %}
{% endmacro %}
{# Run a block for neuron `_at`. #}
{% macro neuron(block, n) %}
if (_at < {{ n }})
{
    const int _neuron = _at;
    {{ scalar_code[block]|join('\n') }}
    {
        {{ vector_code[block]|join('\n') }}
    }
}
{% endmacro %}
{% set several = plan.spikes_at_once %}
{% set steps = plan.steps_per_pass %}
{% set sorts = not plan.online %}
{% set heard = plan.online and not plan.continuous %}
{% set sources = [plan.inputs] + plan.populations %}
{% set n_out = plan.readout.n %}
{% set source = {} %}
{% for s in sources %}
{% set _ = source.update({s.name: s}) %}
{% endfor %}
{% set n_before = plan.signal_rows*n_out %}
{% set followed = plan.feedback|selectattr('follows', 'defined')|list %}
{% set learned = plan.populations|selectattr('learned')|list %}
{% set kept = not plan.continuous %}
#include <math.h>
#include <stdint.h>
#include "device.h"

namespace
{
{{ support_code_lines|join('\n') }}
{{ hashdefine_lines|join('\n') }}
%CONSTANTS%

const int _T = {{ plan.n_steps }};

// Trials of a batch: a block of threads runs a whole trial, on a copy of its own of all that a
// trial changes. All threads go through the stages of a step together.
{{ kernel('run_trials', 'const int _first_trial, const bool _learning', plan.threads) }}
{
    {{ memory.shared_pointers() }}
    char* const _own = _memory.copies + (size_t)blockIdx.x*{{ memory.own_bytes }};
    {{ memory.own_pointers() }}
    const int _trial = _first_trial + blockIdx.x;
    const int _window_start = {{ ptr(plan.control.window_start) }}[0];

    //// start of a trial
    {% for p in plan.populations %}
    {{ each(p.reset, p.n) }}
    {% if p.later is defined and not plan.continuous %}
    {{ clear(ptr(p.later), plan.later_rows*p.width) }}
    {% endif %}
    {% if plan.online and p.learned %}
    {{ each(p.parameter_zero, p.n) }}
    {% endif %}
    {% endfor %}
    {% for s in sources %}
    {% if sorts %}
    {{ clear('_count_' ~ s.name, s.n) }}
    {% endif %}
    {% if heard %}
    {{ clear('_heard_' ~ s.name, s.n) }}
    {% endif %}
    {{ once() }} {{ ptr(s.first) }}[0] = 0;
    {% if plan.continuous and s.name != 'inputs' %}
    // the step before: without trials, its spikes are still on their way
    {
        const int _step = -1;
        __syncthreads();
        {{ once() }} {{ begin(s, '_step') }} = 0;
        {{ list_spikes(s, ptr(s.z) ~ '[_neuron] > 0') }}
    }
    {% else %}
    {{ once() }} {{ begin(s, '0') }} = 0;
    {% endif %}
    {% endfor %}
    {{ each(plan.readout.reset, n_out) }}
    {% if heard %}
    {% for p in plan.projections %}
    {{ each(p.zero, p.size, index='_synapse') }}
    {{ each(p.zero_pre, p.n_pre) }}
    {% if p.pre_window is defined %}
    {% for name in p.pre_window %}
    {{ clear(ptr(name), p.pre_rows*p.n_pre) }}
    {% endfor %}
    {% endif %}
    {% endfor %}
    int _traced = 0;
    {% endif %}
    {% set signals = plan.readout.errors[1] %}
    {% if plan.readout.earlier is defined %}
    for (int _i = threadIdx.x; _i < {{ n_before }}; _i += blockDim.x)
        {{ ptr(signals) }}[_i] = {{ ptr(plan.readout.earlier) }}[_i];
    {% endif %}
    {% for name in plan.readout.errors %}
    {{ clear('%s + %d' % (ptr(name), n_before), '%s*%d' % ('_T' if plan.periods else '_window_start', n_out)) }}
    {% endfor %}
    {% if plan.analog %}
    const int _first_value = {{ ptr(plan.data.pattern) }}[_trial]*_T*{{ plan.inputs.n }};
    {% else %}
    const int32_t* _words = {{ ptr(plan.data.inputs) }}
        + (size_t){{ ptr(plan.data.pattern) }}[_trial]*_T*{{ plan.n_words }};
    {% endif %}
    const int _target_row = {{ ptr(plan.data.target) }}[_trial];
    const int _target = _target_row*{{ plan.target_steps*n_out }};
    // where the outputs of this trial are summed up, an answer a row
    const int _answers = _trial*{{ plan.n_answers*n_out }};
    {{ clear(ptr(plan.data.output) ~ ' + _answers', plan.n_answers*n_out) }}
    // steps since the start of the trial or, without trials, of everything
    const int _before_first = {{ ptr(plan.control.clock) ~ '[0]' if plan.continuous else 0 }};
    __syncthreads();

    for (int _step = 0; _step < _T; _step++)
    {
        const int _t = _step, _now = _before_first + _step;

        //// inputs
        {% set s = plan.inputs %}
        {% if plan.analog %}
        // what is not 0 arrives as a spike does, with a size
        for (int _neuron = threadIdx.x; _neuron < {{ s.n }}; _neuron += blockDim.x)
            {{ ptr(s.z) }}[_neuron] = {{ ptr(plan.data.inputs) }}[_first_value + _step*{{ s.n }} + _neuron];
        {{ list_spikes(s, ptr(s.z) ~ '[_neuron] != 0') }}
        {% else %}
        // spikes are stored as bits, 32 neurons a word
        {% if plan.online %}
        for (int _neuron = threadIdx.x; _neuron < {{ s.n }}; _neuron += blockDim.x)
            {{ ptr(s.z) }}[_neuron] = (_words[_neuron >> 5] >> (_neuron & 31)) & 1;
        {% endif %}
        {{ list_spikes(s, '(_words[_neuron >> 5] >> (_neuron & 31)) & 1') }}
        _words += {{ plan.n_words }};
        {% endif %}

        //// spikes enter: inputs of this step, spikes of the step before
        {% for p in plan.projections if p.delay or p.kind == 'input' %}
        {
            const int _from = _step - {{ p.delay }};
            {% if plan.continuous %}
            if (_learning)
            {
                {{ arrive(p, source[p.source]) }}
            }
            {% endif %}
            {{ deliver(p, source[p.source]) }}
        }
        {{ trace_presynaptic(p) }}
        {% endfor %}
        __syncthreads();

        //// neurons
        {% for p in plan.populations %}
        {% set rows = {'_history': '_t*%d' % p.width} %}
        {% if plan.later_rows %}
        {% set _ = rows.update({'_arriving': '(_now %% %d)*%d' % (plan.later_rows, p.width)}) %}
        {% endif %}
        {{ each(p.advance, p.n, rows) }}
        for (int _neuron = threadIdx.x; _neuron < {{ p.n }}; _neuron += blockDim.x)
            if ({{ ptr(p.z) }}[_neuron] > 0) {{ ptr(p.spike_count) }}[_neuron] += 1;
        {{ list_spikes(p, ptr(p.z) ~ '[_neuron] > 0') }}
        {% endfor %}

        //// readout: sees the spikes of this step
        {
            const int _from = _step;
            {% for p in plan.projections if p.kind == 'readout' and not p.delay %}
            {% if plan.continuous %}
            if (_learning)
            {
                {{ arrive(p, source[p.source]) }}
            }
            {% endif %}
            {{ deliver(p, source[p.source]) }}
            {{ trace_presynaptic(p) }}
            {% endfor %}
        }
        {{ each(plan.readout.advance, n_out) }}
        __syncthreads();
        {% if plan.periods %}
        // which answer this step counts for: 0 is none
        const int _period = {{ ptr(plan.data.period) }}[_target_row*_T + _step];
        if (_period == 0)
        {{ each(plan.readout.silent, n_out) }}
        else
        {% else %}
        const int _period = 1;
        if (_step >= _window_start)
        {% endif %}
        {
            {% if plan.softmax %}
            {{ pairs(plan.readout.softmax, plan.readout.pairs) }}
            {{ each(plan.readout.probability, n_out) }}
            __syncthreads();
            {% endif %}
            const int _first_sample = _target{{ ' + _step*%d' % n_out if plan.target_steps > 1 }};
            {% if plan.readout.couple is defined %}
            {{ each(plan.readout.couple, n_out, {'_sample': '_first_sample'}) }}
            __syncthreads();
            {{ pairs(plan.readout.coupled, plan.readout.pairs) }}
            __syncthreads();
            {% endif %}
            {{ each(plan.readout.loss, n_out,
                    {'_sample': '_first_sample', '_answered': '_answers + (_period - 1)*%d' % n_out,
                     '_history': '(_t + %d)*%d' % (plan.signal_rows, n_out)}) }}
        }
        __syncthreads();

        {% if plan.online %}
        //// learning signals and traces
        if (_learning)
        {
            {% for f in followed if plan.continuous %}
            // the weights that this step's error came from
            {{ follow(f) }}
            {% endfor %}
            {% if plan.continuous %}
            __syncthreads();
            {% endif %}
            {% for f in plan.feedback %}
            {{ clear(ptr(f.L), f.n_post) }}
            {
                {{ scalar_code[f.deliver]|join('\n') }}
                for (int _post = threadIdx.x; _post < {{ f.n_post }}; _post += blockDim.x)
                    for (int _pre = 0; _pre < {{ f.n_pre }}; _pre++)
                    {
                        {{ sent(f, '_t + %d' % plan.signal_rows) }}
                        {{ vector_code[f.deliver]|join('\n') }}
                    }
            }
            {% endfor %}
            {% if heard %}
            {% for s in sources %}
            for (int _s = {{ begin(s, '_step') }} + threadIdx.x; _s < {{ begin(s, '_step + 1') }};
                 _s += blockDim.x)
                _heard_{{ s.name }}[{{ ptr(s.spikes) }}[_s]] = 1;
            {% endfor %}
            {% endif %}
            // What the traces read is kept; a pass over the synapses does several steps. A step
            // waits for its learning signal, where the readouts see its spikes later.
            const int _row = _now % {{ plan.window_rows }};
            {% for p in plan.populations + [plan.readout] %}
            {{ each(p.window, p.n, {'_window': '_row*%d' % p.width}) }}
            {% endfor %}
            {% for p in plan.projections %}
            {{ each(p.window_pre, p.n_pre, {'_window': '(_now %% %d)*%d' % (p.pre_rows, p.n_pre)}) }}
            {% endfor %}
            const int _signal_row = (_now + {{ plan.window_rows - plan.lag }}) % {{ plan.window_rows }};
            {% for p in plan.populations %}
            {{ each(p.window_signal, p.n, {'_window': '_signal_row*%d' % p.width}) }}
            {% endfor %}
            __syncthreads();
            {% if plan.continuous %}
            if (_now >= {{ plan.lag }})
            {
                const int _from = _now - {{ plan.lag }};
                {% for p in plan.projections %}
                {{ traces(p, p.trace, 1) }}
                {% endfor %}
                {% if plan.updates == 'step' %}
                {{ once() }} {{ ptr(plan.control.k) }}[0] += 1;
                {% for p in plan.projections %}
                for (int _pre = threadIdx.x; _pre < {{ p.n_pre }}; _pre += blockDim.x)
                    if ({{ ptr(p.since) }}[_pre] < {{ plan.cutoff or plan.never }}) {{ ptr(p.updates) }}[_pre] += 1;
                {% endfor %}
                __syncthreads();
                {% for p in plan.projections %}
                {
                    {{ scalar_code[p.optimize]|join('\n') }}
                    {{ synapses(p) }}
                        if ({{ ptr(p.since) }}[_pre] >= {{ plan.cutoff or plan.never }}) continue;
                        {{ update(p) }}
                    }
                }
                {% endfor %}
                {% endif %}
            }
            {% else %}
            {% if plan.lag %}
            // errors of after the end: there are none
            if (_step == _T - 1)
                for (int _late = 1; _late <= {{ plan.lag }}; _late++)
                {
                    const int _late_row = (_now + {{ plan.window_rows - plan.lag }} + _late) % {{ plan.window_rows }};
                    {% for p in plan.populations %}
                    {{ clear('%s + _late_row*%d' % (ptr(p.window_L), p.width), p.n) }}
                    {% endfor %}
                }
            __syncthreads();
            {% endif %}
            const int _known = _step == _T - 1 ? _T : _step + 1 - {{ plan.lag }};
            {% for p in learned %}
            for (int _from = max(_step - {{ plan.lag }}, 0); _from < _known; _from++)
            {{ each(p.parameter_trace, p.n, {'_window': '_from %% %d*%d' % (plan.window_rows, p.width)}) }}
            {% endfor %}
            {% if steps > 1 %}
            for (; _known - _traced >= {{ steps }}; _traced += {{ steps }})
            {
                const int _from = _traced;
                {% for p in plan.projections %}
                {{ traces(p, p.traces, steps) }}
                {% endfor %}
            }
            {% endif %}
            for (; {{ '_known == _T && ' if steps > 1 }}_traced < _known; _traced++)
            {
                const int _from = _traced;
                {% for p in plan.projections %}
                {{ traces(p, p.trace, 1) }}
                {% endfor %}
            }
            {% endif %}
            __syncthreads();
        }
        {% endif %}
    }

    //// end of a trial
    {{ once() }} {{ ptr(plan.data.spike_count) }}[_trial] = 0{% for p in plan.populations %} + {{ begin(p, '_T') }} - {{ begin(p, '0') }}{% endfor %};
    {{ each(plan.readout.outcome, n_out, {'_record': '_trial*%d' % n_out}) }}
    {% if plan.continuous %}
    {{ once() }} {{ ptr(plan.control.clock) }}[0] = _before_first + _T;
    {% if plan.readout.earlier is defined %}
    for (int _i = threadIdx.x; _i < {{ n_before }}; _i += blockDim.x)
        {{ ptr(plan.readout.earlier) }}[_i] = {{ ptr(signals) }}[_T*{{ n_out }} + _i];
    {% endif %}
    {% endif %}
    {% if kept %}
    if (_learning)
    {
        {% for p in plan.populations if p.rate is defined and not plan.rate_per_batch %}
        {{ each(p.rate, p.n) }}
        {% endfor %}
        {% if sorts %}
        // the spikes sorted by neuron: _times from _begin[neuron] on
        {% for s in sources %}
        {{ once() }}
        {
            int _sum = 0;
            for (int _neuron = 0; _neuron < {{ s.n }}; _neuron++)
            {
                _begin_{{ s.name }}[_neuron] = _sum;
                _sum += _count_{{ s.name }}[_neuron];
            }
            _begin_{{ s.name }}[{{ s.n }}] = _sum;
        }
        {% endfor %}
        __syncthreads();
        {% for s in sources %}
        for (int _t = threadIdx.x; _t < _T; _t += blockDim.x)
            for (int _s = {{ begin(s, '_t') }}; _s < {{ begin(s, '_t + 1') }}; _s++)
                _times_{{ s.name }}[_begin_{{ s.name }}[{{ ptr(s.spikes) }}[_s]] + _rank_{{ s.name }}[_s]] = _t;
        {% endfor %}
        {% endif %}
    }
    {% endif %}
}

{% if sorts %}
// Errors filtered backwards by the readout: a thread per output and copy.
{{ kernel('filter_errors', 'const int _n_copies') }}
{
    {% set block = plan.readout.backward %}
    {% set carried = memory.written(block, '_neuron') %}
    const int _id = blockIdx.x*blockDim.x + threadIdx.x;
    const int _neuron = _id % {{ n_out }};
    if (_id >= _n_copies*{{ n_out }}) return;
    {{ memory.shared_pointers() }}
    char* const _own = _memory.copies + (size_t)(_id / {{ n_out }})*{{ memory.own_bytes }};
    {{ memory.own_pointers() }}
    [=]({{ memory.parameters(block) }})
    {
        {{ memory.declare(carried) }}
        {{ scalar_code[block]|join('\n') }}
        #pragma unroll 4
        for (int _t = _T - 1; _t >= 0; _t--)
        {
            const int _history = (_t + {{ plan.signal_rows }})*{{ n_out }} + _neuron;
            {{ memory.local(vector_code[block], carried, [block]) }}
        }
    }({{ memory.arguments(block) }});
}

// Backwards inside each neuron: a thread per neuron and copy.
{{ kernel('run_backwards', 'const int _n_copies') }}
{
    const int _id = blockIdx.x*blockDim.x + threadIdx.x;
    {% for p in plan.populations %}
    if (blockIdx.y == {{ loop.index0 }} && _id < _n_copies*{{ p.n }})
    {
        {% set block = p.backward %}
        {% set carried = memory.written(block, '_neuron') %}
        const int _neuron = _id % {{ p.n }};
        {{ memory.shared_pointers() }}
        char* const _own = _memory.copies + (size_t)(_id / {{ p.n }})*{{ memory.own_bytes }};
        {{ memory.own_pointers() }}
        {% set used = [block] %}
        {% for f in plan.feedback if f.target == p.name and p.fused_outputs < n_out %}
        {% set _ = used.append(f.deliver) %}
        {% endfor %}
        {{ memory.declare(carried) }}
        {% if p.fused_outputs < n_out %}
        {% if p.signal not in carried %}
        {% set carried = carried + [p.signal] %}
        {{ memory.declare([p.signal]) }}
        {% endif %}
        {% endif %}
        {% if plan.later_rows > 1 %}
        // spikes that would arrive after the end
        for (int _t = _T; _t < _T + {{ plan.later_rows - 1 }}; _t++)
        {
            {% for name in p.results %}
            {{ ptr(name) }}[_t*{{ p.tile }} + _neuron] = 0;
            {% endfor %}
        }
        {% endif %}
        [&]({{ memory.parameters(*used) }})
        {
        {{ scalar_code[block]|join('\n') }}
        #pragma unroll 4
        for (int _t = _T - 1; _t >= 0; _t--)
        {
            {% if p.fused_outputs < n_out %}
            {{ memory.declare([p.signal], again=true) }}
            {% for f in plan.feedback if f.target == p.name %}
            // what would arrive after the end is lost
            if (_t + {{ plan.lag }} < _T)
            {
                const int _post = _neuron;
                {{ scalar_code[f.deliver]|join('\n') }}
                for (int _pre = {{ p.fused_outputs }}; _pre < {{ f.n_pre }}; _pre++)
                {
                    {{ sent(f, '_t + %d' % (plan.signal_rows + plan.lag)) }}
                    {{ memory.local(vector_code[f.deliver], memory.written(f.deliver, '_post'), used) }}
                }
            }
            {% endfor %}
            {% endif %}
            const int _history = _t*{{ p.width }} + _neuron;
            const int _tile = _t*{{ p.tile }} + _neuron;
            {% for k in range(p.fused_outputs) %}
            const int _output_{{ k }} = (_t + {{ plan.lag }})*{{ n_out }} + {{ k }};
            const int _synapse_{{ k }} = {{ k*p.width }} + _neuron;
            {% endfor %}
            {{ memory.local(vector_code[block], carried, used) }}
        }
        }({{ memory.arguments(*used) }});
        {% if p.learned %}
        {% for name in memory.sums_of(p) if name in carried %}
        {{ memory.partial(name) }}[_neuron] = {{ memory.name(name) }};
        {% endfor %}
        {% endif %}
    }
    {% endfor %}
}
{% endif %}

{% if kept %}
// Sums over trials of a synapse: a thread per synapse and share of trials, which go in their order.
{{ kernel('accumulate', 'const eprop_brian::Wave _wave, const int _first_share') }}
{
    const int _at = blockIdx.x*blockDim.x + threadIdx.x;
    const int _share = _first_share + blockIdx.y;
    {{ memory.shared_pointers(restrict=true) }}
    {{ plan.real }}* const _partials = ({{ plan.real }}*)_memory.partials;
    {% for p in plan.projections %}
    {% set number = loop.index0 %}
    if (blockIdx.z == {{ loop.index0 }} && _at < {{ n_synapses(p) }})
    {
        {% set block = p.gradient if plan.online else p.accumulate %}
        {% set sums = memory.written(block, '_synapse') %}
        {{ ends(p) }}
        {{ memory.declare(sums) }}
        if (_wave.continues(_share))
        {
            {{ memory.load(sums, again=true) }}
        }
        for (int _copy = _wave.begin(_share); _copy < _wave.end(_share); _copy++)
        {
            char* const _own = _memory.copies + (size_t)_copy*{{ memory.own_bytes }};
            {{ memory.own_pointers(restrict=true) }}
            {{ scalar_code[block]|join('\n') }}
            {% if plan.online %}
            {{ memory.local(vector_code[block], sums) }}
            {% else %}
            {% set width = plan.readout.n if p.kind == 'readout' else memory.tile(p) %}
            const int* _spike = _times_{{ p.source }} + _begin_{{ p.source }}[_pre];
            const int* _end = _times_{{ p.source }} + _begin_{{ p.source }}[_pre + 1];
            {% if p.delay %}
            while (_end > _spike && _end[-1] + {{ p.delay }} >= _T) _end--;
            {% endif %}
            {% if p.analog %}
            const int _first_value = {{ ptr(plan.data.pattern) }}[_wave.first_trial + _copy]*_T*{{ p.n_pre }} + _pre;
            {% endif %}
            {% if p.extra is defined %}
            const int _row = ({{ p.delay + p.first_row }} + {{ extra(p) }})*{{ width }} + _post;
            {% else %}
            const int _row = {{ (p.delay + p.first_row)*width }} + _post;
            {% endif %}
            for (; _end - _spike >= {{ several }}; _spike += {{ several }})
            {
                {% for k in range(several) %}
                {% if p.analog %}
                const int _value_{{ k }} = _first_value + _spike[{{ k }}]*{{ p.n_pre }};
                {% endif %}
                const int _tile_{{ k }} = _row + _spike[{{ k }}]*{{ width }};
                {% endfor %}
                {{ memory.local(vector_code[p.accumulate_several], sums) }}
            }
            for (; _spike < _end; _spike++)
            {
                {% if p.analog %}
                const int _value = _first_value + *_spike*{{ p.n_pre }};
                {% endif %}
                const int _tile = _row + *_spike*{{ width }};
                {{ memory.local(vector_code[block], sums) }}
            }
            {% endif %}
        }
        {% for name in sums %}
        _partials[(size_t)blockIdx.y*{{ memory.n_partials }} + {{ memory.first_partial(number, name) }} + _synapse] = {{ memory.name(name) }};
        {% endfor %}
    }
    {% endfor %}
}

// Shares of a wave enter the sums of the batch in their order.
{{ kernel('fold_shares', 'const eprop_brian::Wave _wave, const int _first_share, const int _n_shares') }}
{
    const int _at = blockIdx.x*blockDim.x + threadIdx.x;
    {{ memory.shared_pointers() }}
    {{ plan.real }}* const _partials = ({{ plan.real }}*)_memory.partials;
    {% for p in plan.projections %}
    {% set number = loop.index0 %}
    if (blockIdx.z == {{ loop.index0 }} && _at < {{ n_synapses(p) }})
    {
        {{ ends(p) }}
        {{ scalar_code[p.fold]|join('\n') }}
        for (int _share = 0; _share < _n_shares; _share++)
        {
            {% for name in memory.written(p.gradient if plan.online else p.accumulate, '_synapse') %}
            {{ ptr(name) }}[_synapse] = _partials[(size_t)_share*{{ memory.n_partials }} + {{ memory.first_partial(number, name) }} + _synapse];
            {% endfor %}
            if (_wave.folds(_first_share + _share))
            {
                {{ vector_code[p.fold]|join('\n') }}
            }
        }
    }
    {% endfor %}
}

{% if learned or plan.rate_per_batch %}
// Sums over trials of a neuron.
{{ kernel('accumulate_neurons', 'const eprop_brian::Wave _wave') }}
{
    const int _at = blockIdx.x*blockDim.x + threadIdx.x;
    {{ memory.shared_pointers() }}
    for (int _share = 0; _share < _wave.n_shares(); _share++)
    {
        for (int _copy = _wave.begin(_share); _copy < _wave.end(_share); _copy++)
        {
            char* const _own = _memory.copies + (size_t)_copy*{{ memory.own_bytes }};
            {{ memory.own_pointers() }}
            {% for p in plan.populations %}
            {% if plan.rate_per_batch %}
            {{ neuron(p.tally, p.n) }}
            {% endif %}
            {% if p.learned %}
            {% if plan.online %}
            {{ neuron(p.parameter_gradient, p.n) }}
            {% else %}
            if (_at < {{ p.n }})
            {
                {% for name in memory.sums_of(p) if name in memory.written(p.backward, '_neuron') %}
                {{ ptr(name) }}[_at] += {{ memory.partial(name) }}[_at];
                {% endfor %}
            }
            {% endif %}
            {% endif %}
            {% endfor %}
        }
        {% for p in learned %}
        if (_wave.folds(_share))
        {{ neuron(p.fold, p.n) }}
        {% endfor %}
    }
}
{% endif %}

// Sums are 0 at the start of a call.
{{ kernel('zero_sums', '') }}
{
    const int _at = blockIdx.x*blockDim.x + threadIdx.x;
    {{ memory.shared_pointers() }}
    {% for p in plan.projections %}
    if (blockIdx.z == {{ loop.index0 }} && _at < {{ n_synapses(p) }})
    {
        {{ ends(p) }}
        {{ vector_code[p.zero_sums]|join('\n') }}
    }
    {% endfor %}
    if (blockIdx.z == 0)
    {
        {% for p in plan.populations if plan.rate_per_batch %}
        {{ neuron(p.zero_sums, p.n) }}
        {% endfor %}
        {% for p in learned %}
        {{ neuron(p.zero_learned, p.n) }}
        {% endfor %}
    }
}

{% if learned %}
// What follows from learned parameters.
{{ kernel('refresh', '') }}
{
    const int _at = blockIdx.x*blockDim.x + threadIdx.x;
    {{ memory.shared_pointers() }}
    {% for p in learned %}
    {{ neuron(p.refresh, p.n) }}
    {% endfor %}
}
{% endif %}

// Before the synapses of a batch are updated.
{{ kernel('begin_update', '') }}
{
    const int _at = blockIdx.x*blockDim.x + threadIdx.x;
    {{ memory.shared_pointers() }}
    if (_at == 0) {{ ptr(plan.control.k) }}[0] += 1;
    {% for p in plan.populations if plan.rate_per_batch %}
    {{ neuron(p.rate, p.n) }}
    {% endfor %}
}

{% if plan.clip_norm is defined %}
// Gradients whose norm is to be clipped, and the sums of their squares, a row of a projection a block.
{{ kernel('measure', '', 128) }}
{
    {{ memory.shared_pointers() }}
    // In double precision: the square of a large float is none.
    double _square = 0;
    {% for p in plan.projections %}
    if (blockIdx.z == {{ loop.index0 }} && blockIdx.x < {{ p.n_pre }})
    {
        const int _pre = blockIdx.x;
        {{ scalar_code[p.measure]|join('\n') }}
        {{ row(p) }}
            {% if p.no_autapses is defined %}
            if (_pre == _post)
            {
                {% for name in p.no_autapses.before %}
                {{ ptr(name) }}[_synapse] = 0;
                {% endfor %}
            }
            {% endif %}
            {
                {{ vector_code[p.measure]|join('\n') }}
            }
            _square += (double){{ ptr(p.gradient_array) }}[_synapse]*{{ ptr(p.gradient_array) }}[_synapse];
        }
    }
    {% endfor %}
    _square = eprop_brian::sum_of_block(_square);
    {{ once() }} _memory.squares[blockIdx.z*gridDim.x + blockIdx.x] = _square;
}

{{ kernel('clip', 'const int _n_squares') }}
{
    {{ memory.shared_pointers() }}
    double _square = 0;
    for (int _i = threadIdx.x; _i < _n_squares; _i += blockDim.x) _square += _memory.squares[_i];
    _square = eprop_brian::sum_of_block(_square);
    {{ once() }}
    {
        const double _norm = sqrt(_square), _most = {{ ptr(plan.clip_norm) }}[0];
        {{ ptr(plan.clip_factor) }}[0] = _norm > _most ? _most/_norm : 1;
    }
}
{% endif %}

// The optimizer: a thread per synapse, and per neuron with learned parameters.
{{ kernel('optimize', '') }}
{
    const int _at = blockIdx.x*blockDim.x + threadIdx.x;
    {{ memory.shared_pointers() }}
    {% for p in plan.projections %}
    if (blockIdx.z == {{ loop.index0 }} && _at < {{ n_synapses(p) }})
    {
        {{ ends(p) }}
        {{ scalar_code[p.optimize]|join('\n') }}
        {{ update(p) }}
    }
    {% endfor %}
    {% if learned %}
    if (blockIdx.z == 0)
    {
        {% for p in learned %}
        {{ neuron(p.learn, p.n) }}
        {% endfor %}
    }
    {% endif %}
}
{% endif %}

{% if plan.updates == 'spike' %}
// Without a trial to run: what waits for presynaptic spikes is not to wait longer.
{{ kernel('apply_pending', '', plan.threads) }}
{
    {{ memory.shared_pointers() }}
    char* const _own = _memory.copies;
    {{ memory.own_pointers() }}
    {% for p in plan.projections %}
    for (int _pre = 0; _pre < {{ p.n_pre }}; _pre++)
        if ({{ ptr(p.since) }}[_pre] < {{ plan.never }})
        {{ update_row(p) }}
    {% endfor %}
}
{% endif %}

{% if followed %}
// Feedback weights that follow the readout weights; where there is no synapse they are 0.
{{ kernel('follow_readout', '') }}
{
    {{ memory.shared_pointers() }}
    {% for f in followed %}
    if (blockIdx.z == {{ loop.index0 }})
    {
        {{ clear(ptr(f.B), f.size) }}
        __syncthreads();
        {{ follow(f) }}
    }
    {% endfor %}
}
{% endif %}
}

namespace eprop_brian
{
Memory allocate()
{
    return Memory::allocate({{ memory.shared_bytes }}ull, {{ memory.own_bytes }}ull, {{ memory.most_copies }},
                            {{ memory.n_partials }}*sizeof({{ plan.real }}), {{ memory.n_squares }}, {{ plan.share }});
}

// Runs the trials that the arrays ask for, or, with 0 of them, makes an update.
void run_call(const Memory& memory)
{
    {% if plan.profile %}
    Laps laps;
    {% endif %}
    {{ lap('rest') }}
    const int n_trials = memory.read<int32_t>({{ memory.offset(plan.control.n_trials) }});
    const bool learning = memory.read<int32_t>({{ memory.offset(plan.control.learning) }}) > 0;
    const bool updating = memory.read<int32_t>({{ memory.offset(plan.control.updating) }}) > 0;
    {% if followed %}
    launch(follow_readout, dim3(1, 1, {{ followed|length }}), 256, memory);
    {% endif %}
    {% if plan.continuous %}
    for (int trial = 0; trial < n_trials; trial++)
        launch(run_trials, 1, {{ plan.threads }}, memory, trial, learning);
    {{ lap('neurons') }}
    {% if plan.updates == 'spike' %}
    if (n_trials == 0 && updating)
    {
        launch(apply_pending, 1, {{ plan.threads }}, memory);
        {% if followed %}
        launch(follow_readout, dim3(1, 1, {{ followed|length }}), 256, memory);
        {% endif %}
    }
    {% endif %}
    {% else %}
    const int batch_size = memory.read<int32_t>({{ memory.offset(plan.control.batch_size) }});
    const dim3 synapses = dim3(blocks({{ memory.most_synapses }}), 1, {{ plan.projections|length }});
    {% set most_neurons = plan.populations|map(attribute='n')|max %}
    if (learning)
        launch(zero_sums, synapses, 256, memory);
    for (int trial = 0; trial < n_trials || (n_trials == 0 && updating);)
    {
        const Wave wave(trial, n_trials, batch_size, updating, memory.n_copies, {{ plan.share }});
        if (wave.n_trials > 0)
        {
            {% if learned %}
            launch(refresh, blocks({{ most_neurons }}), 256, memory);
            {% endif %}
            {{ lap('rest') }}
            launch(run_trials, wave.n_trials, {{ plan.threads }}, memory, trial, learning);
            {{ lap('neurons') }}
        }
        if (wave.n_trials > 0 && learning)
        {
            {% if sorts %}
            launch(filter_errors, blocks((size_t)wave.n_trials*{{ n_out }}), 256, memory, wave.n_trials);
            launch(run_backwards, dim3(blocks((size_t)wave.n_trials*{{ most_neurons }}), {{ plan.populations|length }}), 256,
                   memory, wave.n_trials);
            {{ lap('backward') }}
            {% endif %}
            for (int share = 0; share < wave.n_shares(); share += memory.n_shares)
            {
                const int n_shares = std::min(memory.n_shares, wave.n_shares() - share);
                launch(accumulate, dim3(synapses.x, n_shares, synapses.z), 256, memory, wave, share);
                launch(fold_shares, synapses, 256, memory, wave, share, n_shares);
            }
            {{ lap('accumulate') }}
            {% if learned or plan.rate_per_batch %}
            launch(accumulate_neurons, blocks({{ most_neurons }}), 256, memory, wave);
            {% endif %}
        }
        trial += wave.n_trials;
        if (updating && (n_trials == 0 || trial % batch_size == 0))
        {
            launch(begin_update, blocks({{ most_neurons }}), 256, memory);
            {% if plan.clip_norm is defined %}
            launch(measure, dim3({{ memory.most_rows }}, 1, {{ plan.projections|length }}), 128, memory);
            launch(clip, 1, 256, memory, {{ memory.n_squares }});
            {% endif %}
            launch(optimize, synapses, 256, memory);
            {% if followed %}
            launch(follow_readout, dim3(1, 1, {{ followed|length }}), 256, memory);
            {% endif %}
        }
        if (n_trials == 0) break;
        shown_copy() = wave.n_trials - 1;
    }
    {% endif %}
    {{ lap('rest') }}
    check(cudaDeviceSynchronize(), "the program failed on the GPU");
    {% if plan.profile %}
    laps.write(({{ plan.real }}*)(memory.shared + {{ memory.offset(plan.seconds) }}), {{ plan.stages|length }});
    {% endif %}
}
}
{% endblock %}
