{# A trial of a whole network: the template owns the loops, Brian2 generated what is inside.
   Blocks and their order are described in eprop_brian/network/build.py. #}
{# USES_VARIABLES { N } #}
{# ALLOWS_SCALAR_WRITE #}
{% extends 'program.cpp' %}
{% block maincode %}
{# Run a block for `index` from `first` to `last`; `rows` names where rows of other arrays begin, in
   which the block has the cell of the same number. #}
{% macro each(block, last, rows={}, index='_neuron', first='0') %}
{
    {{ scalar_code[block]|join('\n') }}
    INDEPENDENT
    for (int {{ index }} = {{ first }}; {{ index }} < {{ last }}; {{ index }}++)
    {
        {% for cell, row in rows.items() %}
        const int {{ cell }} = {{ row }} + {{ index }};
        {% endfor %}
        {{ vector_code[block]|join('\n') }}
    }
}
{% endmacro %}
{# The same at step _t, with the cells of the history and of what arrives late at hand. #}
{% macro neurons(block, n) %}
{% set rows = {'_history': '_t*%d' % n} %}
{% if plan.later_rows %}
{% set _ = rows.update({'_arriving': '(_now %% %d)*%d' % (plan.later_rows, n)}) %}
{% endif %}
{{ each(block, n, rows) }}
{% endmacro %}
{# Where the spikes of a step begin in the list of a source; the step before a trial's first is -1. #}
{% macro begin(source, step) %}{{ ptr(source.first) }}[{{ step }} + 1]{% endmacro %}
{# Head of a loop over the synapses of _pre onto neurons first..last; a sparse projection's all. #}
{% macro row(p, first='0', last=none) %}
INDEPENDENT
{% if p.sparse %}
for (int _synapse = {{ ptr(p.first) }}[_pre]; _synapse < {{ ptr(p.first) }}[_pre + 1]; _synapse++)
{
    const int _post = {{ ptr(p.post) }}[_synapse];
{% else %}
for (int _post = {{ first }}; _post < {{ last or p.width }}; _post++)
{
    const int _synapse = _pre*{{ p.width }} + _post;
{% endif %}
    {% if p.feedback_width is defined %}
    const int _feedback = _post*{{ p.feedback_width }} + _pre;
    {% endif %}
{% endmacro %}
{# Steps by which a synapse's delay exceeds the least. #}
{% macro extra(p) %}{{ p.extra if p.extra is number else ptr(p.extra) + '[_synapse]' }}{% endmacro %}
{# For the spikes of `source` in step `_from`, loop over the postsynaptic side. #}
{% macro deliver(p, source) %}
{
    {{ scalar_code[p.deliver]|join('\n') }}
    const int _end = {{ begin(source, '_from + 1') }};
    int _s = {{ begin(source, '_from') }};
    {% if p.deliver_several is defined and not p.sparse %}
    for (; _s <= _end - {{ several }}; _s += {{ several }})
    {
        {% for k in range(several) %}
        {% if p.analog %}
        const int _pre_{{ k }} = {{ ptr(source.spikes) }}[_s + {{ k }}];
        {% endif %}
        const int _row_{{ k }} = {{ ptr(source.spikes) }}[_s + {{ k }}]*{{ p.width }};
        {% endfor %}
        INDEPENDENT
        for (int _post = 0; _post < {{ p.width }}; _post++)
        {
            {% for k in range(several) %}
            const int _synapse_{{ k }} = _row_{{ k }} + _post;
            {% endfor %}
            {{ vector_code[p.deliver_several]|join('\n') }}
        }
    }
    {% endif %}
    for (; _s < _end; _s++)
    {
        const int _pre = {{ ptr(source.spikes) }}[_s];
        {{ row(p) }}
            {% if p.extra is defined %}
            const int _later = (_now + {{ extra(p) }}) % {{ plan.later_rows }}*{{ p.width }} + _post;
            {% endif %}
            {{ vector_code[p.deliver]|join('\n') }}
        }
    }
}
{% endmacro %}
{# Before the spikes of step _from are delivered: what their arrival does to the synapses. #}
{% macro arrive(p, source) %}
for (int _s = {{ begin(source, '_from') }}; _s < {{ begin(source, '_from + 1') }}; _s++)
{
    const int _pre = {{ ptr(source.spikes) }}[_s];
    if ({{ ptr(p.since) }}[_pre] >= {{ plan.never }}) continue;
    {% if p.decay is defined %}
    {{ ptr(p.skipped) }}[_pre] = {{ ptr(p.since) }}[_pre] + 1 - {{ plan.cutoff }};
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
}
{% endmacro %}
{# An update of the synapses of _pre, in continuous operation. #}
{% macro update_row(p) %}
{
    {{ ptr(p.updates) }}[_pre] += 1;
    {% if p.no_autapses is defined %}
    {% for name in p.no_autapses.before %}
    {{ ptr(name) }}[_pre*{{ p.width }} + _pre] = 0;
    {% endfor %}
    {% endif %}
    {{ scalar_code[p.optimize]|join('\n') }}
    {{ row(p) }}
        {{ vector_code[p.optimize]|join('\n') }}
    }
    {% if p.no_autapses is defined %}
    {{ ptr(p.no_autapses.after[0]) }}[_pre*{{ p.width }} + _pre] = 0;
    {% endif %}
}
{% endmacro %}
{# Learning signals from readouts to neurons first..last; `before` is the row of step 0. #}
{% macro learning_signal(f, block, before, first='0', last=none, first_output=0) %}
{
    {{ scalar_code[block]|join('\n') }}
    for (int _pre = {{ first_output }}; _pre < {{ f.n_pre }}; _pre++)
    {
        {{ row(f, first, last) }}
            {% if f.delay %}
            const int _sent = ({{ before }} - {{ ptr(f.delay) }}[_synapse])*{{ f.n_pre }} + _pre;
            {% else %}
            const int _sent = ({{ before }})*{{ f.n_pre }} + _pre;
            {% endif %}
            {{ vector_code[block]|join('\n') }}
        }
    }
}
{% endmacro %}
{# Loop over all pairs, presynaptic index outside. #}
{% macro pairs(block, p) %}
{
    {{ scalar_code[block]|join('\n') }}
    for (int _pre = 0; _pre < {{ p.n_pre }}; _pre++)
    {
        {{ row(p) }}
            {{ vector_code[block]|join('\n') }}
        }
    }
}
{% endmacro %}
{# Add to the gradients of the synapses onto neurons _first.._last from all presynaptic spikes. #}
{% macro accumulate(p, width) %}
{
    {{ scalar_code[p.accumulate]|join('\n') }}
    for (int _pre = 0; _pre < {{ p.n_pre }}; _pre++)
    {
        const int* _spike = &_times_{{ p.source }}[0] + _begin_{{ p.source }}[_pre];
        const int* _end = &_times_{{ p.source }}[0] + _begin_{{ p.source }}[_pre + 1];
        {% if p.delay %}
        while (_end > _spike && _end[-1] + {{ p.delay }} >= _T) _end--;
        {% endif %}
        {% if not p.sparse and p.extra is not defined %}
        for (; _end - _spike >= {{ several }}; _spike += {{ several }})
        {
            {% for k in range(several) %}
            {% if p.analog %}
            const int _value_{{ k }} = _first_value + _spike[{{ k }}]*{{ p.n_pre }} + _pre;
            {% endif %}
            const int _row_{{ k }} = (_spike[{{ k }}] + {{ p.delay + p.first_row }})*{{ width }} - _first;
            {% endfor %}
            {{ row(p, '_first', '_last') }}
                {% for k in range(several) %}
                const int _tile_{{ k }} = _row_{{ k }} + _post;
                {% endfor %}
                {{ vector_code[p.accumulate_several]|join('\n') }}
            }
        }
        {% endif %}
        for (; _spike < _end; _spike++)
        {
            {% if p.analog %}
            const int _value = _first_value + *_spike*{{ p.n_pre }} + _pre;
            {% endif %}
            const int _row = (*_spike + {{ p.delay + p.first_row }})*{{ width }} - _first;
            {{ row(p, '_first', '_last') }}
                {% if p.extra is defined %}
                const int _tile = _row + {{ extra(p) }}*{{ width }} + _post;
                {% else %}
                const int _tile = _row + _post;
                {% endif %}
                {{ vector_code[p.accumulate]|join('\n') }}
            }
        }
    }
}
{% endmacro %}
{# Sort the spikes of a source by neuron: _times from _begin[neuron] on. #}
{% macro by_neuron(source) %}
static int _begin_{{ source.name }}[{{ source.n + 2 }}];
static std::vector<int> _times_{{ source.name }};
{
    const int _count = {{ begin(source, '_T') }};
    int* _next = _begin_{{ source.name }} + 1;
    std::fill(_begin_{{ source.name }}, _begin_{{ source.name }} + {{ source.n + 2 }}, 0);
    _times_{{ source.name }}.resize(_count + 1);
    for (int _s = 0; _s < _count; _s++) _next[{{ ptr(source.spikes) }}[_s] + 1]++;
    for (int _i = 0; _i < {{ source.n }}; _i++) _next[_i + 1] += _next[_i];
    for (int _t = 0; _t < _T; _t++)
        for (int _s = {{ begin(source, '_t') }}; _s < {{ begin(source, '_t + 1') }}; _s++)
            _times_{{ source.name }}[_next[{{ ptr(source.spikes) }}[_s]]++] = _t;
}
{% endmacro %}
{# Advance the traces of a projection by `n` steps from step _from on, which are in the windows. #}
{% macro traces(p, block, n) %}
{
    {{ scalar_code[block]|join('\n') }}
    for (int _pre = 0; _pre < {{ p.n_pre }}; _pre++)
    {
        {% if plan.continuous %}
        if ({{ ptr(p.since) }}[_pre] >= {{ plan.cutoff or plan.never }}) continue;
        {% else %}
        if (!_heard_{{ p.source }}[_pre]) continue;
        {% endif %}
        {% if p.extra is not defined %}
        {% for k in range(n) %}
        const int _pre_{{ k }} = (_from + {{ k }}) % {{ p.pre_rows }}*{{ p.n_pre }} + _pre;
        {% endfor %}
        {% endif %}
        {% for k in range(n) %}
        const int _row_{{ k }} = (_from + {{ k }}) % {{ plan.window_rows }}*{{ p.width }};
        {% endfor %}
        {{ row(p) }}
            {% for k in range(n) %}
            const int _post_{{ k }} = _row_{{ k }} + _post;
            {% if p.extra is defined %}
            const int _pre_{{ k }} = (_from + {{ k + p.pre_rows }} - {{ extra(p) }}) % {{ p.pre_rows }}
                *{{ p.n_pre }} + _pre;
            {% endif %}
            {% endfor %}
            {{ vector_code[block]|join('\n') }}
        }
    }
}
{% endmacro %}
{# List the spikes among `size` neurons from `start` on; padding may fire, and is left out. #}
{% macro list_spikes(p, start, size) %}
{
    {{ plan.real }} _fired = 0;
    for (int _i = 0; _i < {{ size }}; _i++) _fired += {{ ptr(p.z) }}[{{ start }} + _i];
    if (_fired > 0)
        for (int _neuron = {{ start }}; _neuron < std::min({{ start }} + {{ size }}, {{ p.n }}); _neuron++)
            if ({{ ptr(p.z) }}[_neuron] > 0) {{ ptr(p.spikes) }}[_end++] = _neuron;
}
{% endmacro %}
{# Set values of neurons onto themselves to 0. #}
{% macro autapses(p, when) %}
{% if p.no_autapses is defined %}
for (int _i = 0; _i < {{ p.n_pre }}; _i++)
{
    {% for name in p.no_autapses[when] %}
    {{ ptr(name) }}[_i*{{ p.width }} + _i] = 0;
    {% endfor %}
}
{% endif %}
{% endmacro %}
{% macro follow(f) %}
{% set w = f.follows %}
std::fill({{ ptr(f.B) }}, {{ ptr(f.B) }} + {{ f.size }}, 0);
for (int _pre = 0; _pre < {{ w.n_pre }}; _pre++)
{
    {{ row(w, last=w.n_post) }}
        {{ ptr(f.B) }}[_post*{{ f.width }} + _pre] = {{ ptr(w.w) }}[_synapse];
    }
}
{% endmacro %}
{# A stage ends here: what has passed since the last such place was its time. #}
{% macro lap(stage) %}
{% if plan.profile %}
{
    const unsigned long long _now = eprop_brian::ticks();
    _ticks[{{ plan.stages.index(stage) }}] += _now - _before;
    _before = _now;
}
{% endif %}
{% endmacro %}
{% set steps = plan.steps_per_pass %}
{% set several = plan.spikes_at_once %}
{% set sources = {'inputs': plan.inputs} %}
{% for p in plan.populations %}
{% set _ = sources.update({p.name: p}) %}
{% endfor %}
// No iteration of an inner loop needs what another wrote, which the compiler cannot see.
#ifdef __clang__
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define INDEPENDENT _Pragma("GCC ivdep")
#endif
const size_t _vectorisation_idx = -1;
const int _T = {{ plan.n_steps }};
const int _trial = {{ ptr(plan.control.trial) }}[0];
const int _n_trials = {{ ptr(plan.control.n_trials) }}[0];
{% if plan.learning %}
const int _batch_size = {{ ptr(plan.control.batch_size) }}[0];
{% endif %}
const int _window_start = {{ ptr(plan.control.window_start) }}[0];
{% if plan.learning %}
const bool _learning = {{ ptr(plan.control.learning) }}[0] > 0;
const bool _updating = {{ ptr(plan.control.updating) }}[0] > 0;
{% endif %}

{% if plan.profile %}
static unsigned long long _ticks[{{ plan.stages|length }}], _before, _ticks_at_start;
static std::chrono::steady_clock::time_point _started;
if (_trial == 0)
{
    std::fill(_ticks, _ticks + {{ plan.stages|length }}, 0);
    _started = std::chrono::steady_clock::now();
    _ticks_at_start = _before = eprop_brian::ticks();
}
{% endif %}
//// start of a call
if (_trial == 0)
{
    {% for f in plan.feedback if f.follows is defined %}
    {{ follow(f) }}
    {% endfor %}
    {% if plan.learning and not plan.continuous %}
    if (_learning)
    {
        {% for p in plan.projections %}
        {{ pairs(p.zero_sums, p) }}
        {% endfor %}
        {% for p in plan.populations if plan.rate_per_batch %}
        {{ each(p.zero_sums, p.width) }}
        {% endfor %}
        {% for p in plan.populations if p.learned %}
        {{ each(p.zero_learned, p.width) }}
        {% endfor %}
    }
    {% endif %}
}

if (_trial < _n_trials)
{
//// start of a trial
{% for p in plan.populations %}
{% if p.learned %}
{{ each(p.refresh, p.width) }}
{% endif %}
{{ each(p.reset, p.width) }}
{% if p.later is defined and not plan.continuous %}
std::fill({{ ptr(p.later) }}, {{ ptr(p.later) }} + {{ plan.later_rows*p.width }}, 0);
{% endif %}
{% if plan.online and p.learned %}
{{ each(p.parameter_zero, p.width) }}
{% endif %}
{% endfor %}
{% for s in [plan.inputs] + plan.populations %}
// the step before: without trials, its spikes are still on their way
{{ ptr(s.first) }}[0] = 0;
{
    int _end = 0;
    {% if plan.continuous and s.name != 'inputs' %}
    for (int _neuron = 0; _neuron < {{ s.n }}; _neuron++)
        if ({{ ptr(s.z) }}[_neuron] > 0) {{ ptr(s.spikes) }}[_end++] = _neuron;
    {% endif %}
    {{ begin(s, '0') }} = _end;
}
{% endfor %}
{{ each(plan.readout.reset, plan.readout.n) }}
{% for p in plan.projections if plan.online and not plan.continuous %}
{{ each(p.zero, p.size, index='_synapse') }}
{{ each(p.zero_pre, p.n_pre) }}
{% if p.pre_window is defined %}
{% for name in p.pre_window %}
std::fill({{ ptr(name) }}, {{ ptr(name) }} + {{ p.pre_rows*p.n_pre }}, 0);
{% endfor %}
{% endif %}
{% endfor %}
{% set n_before = plan.signal_rows*plan.readout.n %}
{% set signals = plan.readout.errors[1] %}
{% if plan.readout.earlier is defined %}
std::copy_n({{ ptr(plan.readout.earlier) }}, {{ n_before }}, {{ ptr(signals) }});
{% endif %}
{% for name in plan.readout.errors %}
std::fill_n({{ ptr(name) }} + {{ n_before }}, {{ '_T' if plan.periods else '_window_start' }}*{{ plan.readout.n }}, 0);
{% endfor %}
{% if plan.analog %}
const int _first_value = {{ ptr(plan.data.pattern) }}[_trial]*_T*{{ plan.inputs.n }};
{% else %}
const int32_t* _words = {{ ptr(plan.data.inputs) }}
    + (size_t){{ ptr(plan.data.pattern) }}[_trial]*_T*{{ plan.n_words }};
{% endif %}
const int _target_row = {{ ptr(plan.data.target) }}[_trial];
const int _target = _target_row*{{ plan.target_steps*plan.readout.n }};
// where the outputs of this trial are summed up, an answer a row
const int _answers = _trial*{{ plan.n_answers*plan.readout.n }};
std::fill_n({{ ptr(plan.data.output) }} + _answers, {{ plan.n_answers*plan.readout.n }}, 0);
// steps since the start of the trial or, without trials, of everything
const int _before_first = {{ ptr(plan.control.clock) ~ '[0]' if plan.continuous else 0 }};
{% if plan.online and not plan.continuous %}
int _traced = 0;
{% endif %}

{{ lap('rest') }}
{% if plan.online and not plan.continuous %}
// The traces of a synapse are 0 until its presynaptic neuron has spiked in this trial.
{% for s in [plan.inputs] + plan.populations %}
bool _heard_{{ s.name }}[{{ s.n }}] = {};
{% endfor %}
{% endif %}
for (int _step = 0; _step < _T; _step++)
{
    const int _t = _step, _now = _before_first + _step;

    {% if plan.analog %}
    //// inputs: what is not 0 arrives as a spike does, with a size
    {
        {% set s = plan.inputs %}
        int _end = {{ begin(s, '_step') }};
        std::copy_n({{ ptr(plan.data.inputs) }} + _first_value + _step*{{ s.n }}, {{ s.n }}, {{ ptr(s.z) }});
        for (int _neuron = 0; _neuron < {{ s.n }}; _neuron++)
            if ({{ ptr(s.z) }}[_neuron] != 0) {{ ptr(s.spikes) }}[_end++] = _neuron;
        {{ begin(s, '_step + 1') }} = _end;
    }
    {% else %}
    //// inputs: spikes are stored as bits, 32 neurons a word
    {
        {% set s = plan.inputs %}
        int _end = {{ begin(s, '_step') }};
        {% if plan.online %}
        for (int _neuron = 0; _neuron < {{ s.n }}; _neuron++) {{ ptr(s.z) }}[_neuron] = 0;
        {% endif %}
        for (int _w = 0; _w < {{ plan.n_words }}; _w++, _words++)
            for (uint32_t _bits = (uint32_t)*_words; _bits; _bits &= _bits - 1)
            {
                const int _neuron = 32*_w + __builtin_ctz(_bits);
                {{ ptr(s.spikes) }}[_end++] = _neuron;
                {% if plan.online %}
                {{ ptr(s.z) }}[_neuron] = 1;
                {% endif %}
            }
        {{ begin(s, '_step + 1') }} = _end;
    }
    {% endif %}

    //// spikes enter: inputs of this step, spikes of the step before
    {% for p in plan.projections if p.delay or p.kind == 'input' %}
    {
        const int _from = _step - {{ p.delay }};
        {% if plan.continuous and plan.learning %}
        if (_learning)
            {{ arrive(p, sources[p.source]) }}
        {% endif %}
        {{ deliver(p, sources[p.source]) }}
    }
    {% if plan.online %}
    {{ each(p.pre_trace, p.n_pre) }}
    {% endif %}
    {% endfor %}

    {{ lap('spikes') }}

    //// neurons
    {% for p in plan.populations %}
    {{ neurons(p.advance, p.width) }}
    {
        int _end = {{ begin(p, '_step') }};
        // Most neurons are silent: look at them one by one only where a block of them is not.
        {% set full = p.width // 32 * 32 %}
        {% if full %}
        for (int _block = 0; _block < {{ full }}; _block += 32)
            {{ list_spikes(p, '_block', 32) }}
        {% endif %}
        {% if p.width > full %}
        {{ list_spikes(p, full, p.width - full) }}
        {% endif %}
        {{ begin(p, '_step + 1') }} = _end;
    }
    {% endfor %}

    {{ lap('neurons') }}

    //// readout: sees the spikes of this step
    {
        const int _from = _step;
        {% for p in plan.projections if p.kind == 'readout' and not p.delay %}
        {% if plan.continuous and plan.learning %}
        if (_learning)
            {{ arrive(p, sources[p.source]) }}
        {% endif %}
        {{ deliver(p, sources[p.source]) }}
        {% if plan.online %}
        {{ each(p.pre_trace, p.n_pre) }}
        {% endif %}
        {% endfor %}
    }
    {% set recorded = {} if plan.learning else {'_history': '_t*%d' % plan.readout.n} %}
    {{ each(plan.readout.advance, plan.readout.n, recorded) }}
    {% if plan.periods %}
    // which answer this step counts for: 0 is none
    const int _period = {{ ptr(plan.data.period) }}[_target_row*_T + _step];
    if (_period == 0)
        {{ each(plan.readout.silent, plan.readout.n) }}
    else
    {% else %}
    const int _period = 1;
    if (_step >= _window_start)
    {% endif %}
    {
        {% if plan.softmax %}
        {{ pairs(plan.readout.softmax, plan.readout.pairs) }}
        {{ each(plan.readout.probability, plan.readout.n) }}
        {% endif %}
        {% set n = plan.readout.n %}
        const int _first_sample = _target{{ ' + _step*%d' % n if plan.target_steps > 1 }};
        {% if plan.readout.couple is defined %}
        {{ each(plan.readout.couple, n, {'_sample': '_first_sample'}) }}
        {{ pairs(plan.readout.coupled, plan.readout.pairs) }}
        {% endif %}
        {{ each(plan.readout.loss, n,
                {'_sample': '_first_sample', '_answered': '_answers + (_period - 1)*%d' % n,
                 '_history': '(_t + %d)*%d' % (plan.signal_rows, n)}) }}
    }

    {{ lap('readout') }}

    {% if plan.online %}
    //// learning signals and traces
    if (_learning)
    {
        {% for f in plan.feedback if plan.continuous and f.follows is defined %}
        // the weights that this step's error came from
        {{ follow(f) }}
        {% endfor %}
        {% for f in plan.feedback %}
        std::fill_n({{ ptr(f.L) }}, {{ f.width }}, 0);
        {{ learning_signal(f, f.deliver, '_t + %d' % plan.signal_rows) }}
        {% endfor %}
        {% if not plan.continuous %}
        {% for s in [plan.inputs] + plan.populations %}
        for (int _s = {{ begin(s, '_step') }}; _s < {{ begin(s, '_step + 1') }}; _s++)
            _heard_{{ s.name }}[{{ ptr(s.spikes) }}[_s]] = true;
        {% endfor %}
        {% endif %}
        // What the traces read is kept; a pass over the synapses does several steps. A step waits
        // for its learning signal, where the readouts see its spikes later.
        const int _row = _now % {{ plan.window_rows }};
        {% for p in plan.populations + [plan.readout] %}
        {{ each(p.window, p.width, {'_window': '_row*%d' % p.width}) }}
        {% endfor %}
        {% for p in plan.projections %}
        {{ each(p.window_pre, p.n_pre, {'_window': '(_now %% %d)*%d' % (p.pre_rows, p.n_pre)}) }}
        {% endfor %}
        const int _signal_row = (_now + {{ plan.window_rows - plan.lag }}) % {{ plan.window_rows }};
        {% for p in plan.populations %}
        {{ each(p.window_signal, p.width, {'_window': '_signal_row*%d' % p.width}) }}
        {% endfor %}
        {% if plan.continuous %}
        if (_now >= {{ plan.lag }})
        {
            const int _from = _now - {{ plan.lag }};
            {% for p in plan.projections %}
            {{ traces(p, p.trace, 1) }}
            {% endfor %}
            {% if plan.updates == 'step' %}
            {{ ptr(plan.control.k) }}[0] += 1;
            {% for p in plan.projections %}
            for (int _pre = 0; _pre < {{ p.n_pre }}; _pre++)
                if ({{ ptr(p.since) }}[_pre] < {{ plan.cutoff or plan.never }})
                {{ update_row(p) }}
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
                std::fill_n({{ ptr(p.window_L) }} + _late_row*{{ p.width }}, {{ p.width }}, 0);
                {% endfor %}
            }
        {% endif %}
        const int _known = _step == _T - 1 ? _T : _step + 1 - {{ plan.lag }};
        {% for p in plan.populations if p.learned %}
        for (int _from = std::max(_step - {{ plan.lag }}, 0); _from < _known; _from++)
            {{ each(p.parameter_trace, p.width,
                    {'_window': '_from %% %d*%d' % (plan.window_rows, p.width)}) }}
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
    }
    {{ lap('traces') }}
    {% endif %}
}

//// end of a trial
{{ ptr(plan.data.spike_count) }}[_trial] = 0;
{% for p in plan.populations %}
for (int _s = {{ begin(p, '0') }}; _s < {{ begin(p, '_T') }}; _s++)
    {{ ptr(p.spike_count) }}[{{ ptr(p.spikes) }}[_s]] += 1;
{{ ptr(plan.data.spike_count) }}[_trial] += {{ begin(p, '_T') }} - {{ begin(p, '0') }};
{% endfor %}
{{ each(plan.readout.outcome, plan.readout.n, {'_record': '_trial*%d' % plan.readout.n}) }}
{% if plan.continuous %}
{{ ptr(plan.control.clock) }}[0] = _before_first + _T;
{% if plan.readout.earlier is defined %}
std::copy_n({{ ptr(signals) }} + _T*{{ plan.readout.n }}, {{ n_before }}, {{ ptr(plan.readout.earlier) }});
{% endif %}
{% endif %}
{% if plan.learning and not plan.continuous %}
if (_learning)
{
    {% for p in plan.populations if p.rate is defined %}
    {{ each(p.tally if plan.rate_per_batch else p.rate, p.width) }}
    {% endfor %}
    {% if plan.online %}
    {% for p in plan.projections %}
    {{ pairs(p.gradient, p) }}
    {% endfor %}
    {% for p in plan.populations if p.learned %}
    {{ each(p.parameter_gradient, p.width) }}
    {% endfor %}
    {% else %}
    {{ by_neuron(plan.inputs) }}
    {% for p in plan.populations %}
    {{ by_neuron(p) }}
    {% endfor %}
    {{ lap('accumulate') }}
    // errors filtered backwards by the readout
    {{ each(plan.readout.zero, plan.readout.n) }}
    for (int _t = _T - 1; _t >= 0; _t--)
        {{ each(plan.readout.backward, plan.readout.n,
                {'_history': '(_t + %d)*%d' % (plan.signal_rows, plan.readout.n)}) }}
    {{ lap('backward') }}
    {
        const int _first = 0, _last = {{ plan.readout.n }};
        {% for p in plan.projections if p.kind == 'readout' %}
        {{ accumulate(p, plan.readout.n) }}
        {% endfor %}
    }
    {{ lap('accumulate') }}
    {% for p in plan.populations %}
    // {{ p.name }}: backwards inside each neuron, as many neurons at a time as the cache holds,
    // then over the presynaptic spikes
    for (int _first = 0; _first < {{ p.width }}; _first += {{ p.tile }})
    {
        const int _last = std::min(_first + {{ p.tile }}, {{ p.width }});
        {{ each(p.zero, '_last', first='_first') }}
        {% if plan.later_rows > 1 %}
        // spikes that would arrive after the end
        {% for name in p.results %}
        std::fill_n({{ ptr(name) }} + _T*{{ p.tile }}, {{ (plan.later_rows - 1)*p.tile }}, 0);
        {% endfor %}
        {% endif %}
        {% set block = p.backward %}
        {{ scalar_code[block]|join('\n') }}
        for (int _t = _T - 1; _t >= 0; _t--)
        {
            {% if p.fused_outputs < plan.readout.n %}
            std::fill({{ ptr(p.signal) }} + _first, {{ ptr(p.signal) }} + _last, 0);
            {% for f in plan.feedback if f.target == p.name %}
            // what would arrive after the end is lost
            if (_t + {{ plan.lag }} < _T)
            {{ learning_signal(f, f.deliver, '_t + %d' % (plan.signal_rows + plan.lag), '_first', '_last',
                               p.fused_outputs) }}
            {% endfor %}
            {% endif %}
            {% for k in range(p.fused_outputs) %}
            const int _output_{{ k }} = (_t + {{ plan.lag }})*{{ plan.readout.n }} + {{ k }};
            {% endfor %}
            INDEPENDENT
            for (int _neuron = _first; _neuron < _last; _neuron++)
            {
                const int _history = _t*{{ p.width }} + _neuron;
                const int _tile = _t*{{ p.tile }} + _neuron - _first;
                {% for k in range(p.fused_outputs) %}
                const int _synapse_{{ k }} = {{ k*p.width }} + _neuron;
                {% endfor %}
                {{ vector_code[block]|join('\n') }}
            }
        }
        {{ lap('backward') }}
        {% for q in plan.projections if q.target == p.name %}
        {{ accumulate(q, p.tile) }}
        {% endfor %}
        {{ lap('accumulate') }}
    }
    {% endfor %}
    {% endif %}
}
{% endif %}
}

{% if plan.learning %}
//// end of a share of trials, of a batch: sums are made share by share, whoever computes them
{% if plan.continuous %}
{% if plan.updates == 'spike' %}
// Without a trial to run: what waits for presynaptic spikes is not to wait longer.
if (_updating && _n_trials == 0)
{
    {% for p in plan.projections %}
    for (int _pre = 0; _pre < {{ p.n_pre }}; _pre++)
        if ({{ ptr(p.since) }}[_pre] < {{ plan.never }})
        {{ update_row(p) }}
    {% endfor %}
    {% for f in plan.feedback if f.follows is defined %}
    {{ follow(f) }}
    {% endfor %}
}
{% endif %}
{% else %}
const bool _batch_ends = _n_trials == 0 || (_trial + 1) % _batch_size == 0;
if (_updating && _batch_ends)
{
    {{ ptr(plan.control.k) }}[0] += 1;
    {% for p in plan.populations if plan.rate_per_batch %}
    {{ each(p.rate, p.width) }}
    {% endfor %}
    {% if plan.clip_norm is defined %}
    {
        // In double precision: the square of a large float is none.
        double _square = 0;
        {% for p in plan.projections %}
        {{ autapses(p, 'before') }}
        {{ pairs(p.measure, p) }}
        for (int _pre = 0; _pre < {{ p.n_pre }}; _pre++)
        {
            {{ row(p, last=p.n_post) }}
                _square += (double){{ ptr(p.gradient_array) }}[_synapse]*{{ ptr(p.gradient_array) }}[_synapse];
            }
        }
        {% endfor %}
        const double _norm = std::sqrt(_square), _most = {{ ptr(plan.clip_norm) }}[0];
        {{ ptr(plan.clip_factor) }}[0] = _norm > _most ? _most/_norm : 1;
    }
    {% endif %}
    {% for p in plan.projections %}
    {{ autapses(p, 'before') }}
    {{ pairs(p.optimize, p) }}
    {{ autapses(p, 'after') }}
    {% endfor %}
    {% for p in plan.populations if p.learned %}
    {{ each(p.learn, p.width) }}
    {% endfor %}
    {% for f in plan.feedback if f.follows is defined %}
    {{ follow(f) }}
    {% endfor %}
}
else if (_updating && (_trial % _batch_size + 1) % {{ plan.share }} == 0)
{
    {% for p in plan.projections %}
    {{ pairs(p.fold, p) }}
    {% endfor %}
    {% for p in plan.populations if p.learned %}
    {{ each(p.fold, p.width) }}
    {% endfor %}
}
{% endif %}
{% endif %}
{{ lap('rest') }}
{% if plan.profile %}
if (_trial + 1 >= _n_trials)
{
    const std::chrono::duration<double> _elapsed = std::chrono::steady_clock::now() - _started;
    for (int _i = 0; _i < {{ plan.stages|length }}; _i++)
        {{ ptr(plan.seconds) }}[_i] = _elapsed.count()*_ticks[_i]/(_before - _ticks_at_start);
}
{% endif %}
{{ ptr(plan.control.trial) }}[0] = _trial + 1;
if (_trial + 1 >= _n_trials)
    _over = true;
#undef INDEPENDENT
{% endblock %}
