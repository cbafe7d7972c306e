{# The step of a whole network: the template owns the loops, Brian2 generated what is inside.
   Blocks and their order are described in eprop_brian/network/build.py. #}
{# USES_VARIABLES { N } #}
{# ALLOWS_SCALAR_WRITE #}
{% extends 'common_group.cpp' %}
{% block maincode %}
{% macro each(block, index, n) %}
{
    {{ scalar_code[block]|join('\n') }}
    for (int {{ index }} = 0; {{ index }} < {{ n }}; {{ index }}++)
    {
        {{ vector_code[block]|join('\n') }}
    }
}
{% endmacro %}
{# Loop over neurons (_neuron) with the history cell of step _t at hand. #}
{% macro neurons(block, n) %}
{
    {{ scalar_code[block]|join('\n') }}
    for (int _neuron = 0; _neuron < {{ n }}; _neuron++)
    {
        const int _history = _t*{{ n }} + _neuron;
        {{ vector_code[block]|join('\n') }}
    }
}
{% endmacro %}
{# For the spikes of `source` in step `_from`, loop over the postsynaptic side at step `_t`. #}
{% macro spikes(block, source, p) %}
{
    {{ scalar_code[block]|join('\n') }}
    const int _end = {{ ptr(source.first) }}[_from + 1];
    for (int _s = {{ ptr(source.first) }}[_from]; _s < _end; _s++)
    {
        const int _row = {{ ptr(source.spikes) }}[_s]*{{ p.n_post }};
        for (int _post = 0; _post < {{ p.n_post }}; _post++)
        {
            const int _synapse = _row + _post;
            const int _history = _t*{{ p.n_post }} + _post;
            {{ vector_code[block]|join('\n') }}
        }
    }
}
{% endmacro %}
{# Loop over all pairs, presynaptic index outside. #}
{% macro pairs(block, n_pre, n_post) %}
{
    {{ scalar_code[block]|join('\n') }}
    for (int _pre = 0; _pre < {{ n_pre }}; _pre++)
        for (int _post = 0; _post < {{ n_post }}; _post++)
        {
            const int _synapse = _pre*{{ n_post }} + _post;
            const int _history_pre = _t*{{ n_pre }} + _pre;
            {{ vector_code[block]|join('\n') }}
        }
}
{% endmacro %}
{% set ns = namespace(sources={'inputs': plan.inputs}) %}
{% for p in plan.populations %}
{% set _ = ns.sources.update({p.name: p}) %}
{% endfor %}
const size_t _vectorisation_idx = -1;
const int _T = {{ plan.n_steps }};
// A whole trial in one call where nothing has to run between its steps.
bool _trial_ends;
do
{
const int _step = {{ ptr(plan.control.step) }}[0];
const int _trial = {{ ptr(plan.control.trial) }}[0];
_trial_ends = _step == _T - 1;
const bool _learning = {{ ptr(plan.control.learning) }}[0] > 0;

//// start of a trial
if (_step == 0)
{
    {% for p in plan.populations %}
    {{ each(p.reset, '_neuron', p.n) }}
    {{ ptr(p.first) }}[0] = 0;
    {% endfor %}
    {{ each(plan.readout.reset, '_neuron', plan.readout.n) }}
    {{ ptr(plan.inputs.first) }}[0] = 0;
    {% for p in plan.projections if plan.online %}
    {{ each(p.zero, '_synapse', p.n_pre*p.n_post) }}
    {{ each(p.zero_pre, '_neuron', p.n_pre) }}
    {% endfor %}
    {% for f in plan.feedback if f.follows is defined %}
    if (_trial == 0)
        for (int _pre = 0; _pre < {{ f.n_pre }}; _pre++)
            for (int _post = 0; _post < {{ f.n_post }}; _post++)
                {{ ptr(f.B) }}[_pre*{{ f.n_post }} + _post] = {{ ptr(f.follows) }}[_post*{{ f.n_pre }} + _pre];
    {% endfor %}
}

//// inputs: spikes are stored as bits, 32 neurons a word
{
    {% set s = plan.inputs %}
    const int32_t* _words = {{ ptr(plan.data.words) }}
        + ((size_t){{ ptr(plan.data.pattern) }}[_trial]*_T + _step)*{{ plan.n_words }};
    int _end = {{ ptr(s.first) }}[_step];
    int _count = 0;
    {% if plan.online %}
    for (int _neuron = 0; _neuron < {{ s.n }}; _neuron++) {{ ptr(s.z) }}[_neuron] = 0;
    {% endif %}
    for (int _w = 0; _w < {{ plan.n_words }}; _w++)
        for (uint32_t _bits = (uint32_t)_words[_w]; _bits; _bits &= _bits - 1)
        {
            const int _neuron = 32*_w + __builtin_ctz(_bits);
            {{ ptr(s.spikes) }}[_end++] = _neuron;
            {{ ptr(s.spikespace) }}[_count++] = _neuron;
            {% if plan.online %}
            {{ ptr(s.z) }}[_neuron] = 1;
            {% endif %}
        }
    {{ ptr(s.spikespace) }}[{{ s.n }}] = _count;
    {{ ptr(s.first) }}[_step + 1] = _end;
}

//// spikes enter: inputs of this step, recurrent spikes of the step before
{
    const int _t = _step;
    {% for p in plan.projections if p.kind != 'readout' %}
    if (_step >= {{ p.delay }})
    {
        const int _from = _step - {{ p.delay }};
        {{ spikes(p.deliver, ns.sources[p.source], p) }}
    }
    {% if plan.online %}
    {{ each(p.pre_trace, '_neuron', p.n_pre) }}
    {% endif %}
    {% endfor %}
}

//// neurons
{
    const int _t = _step;
    {% for p in plan.populations %}
    {{ neurons(p.advance, p.n) }}
    {% if not plan.online %}
    {{ neurons(p.record, p.n) }}
    {% endif %}
    {
        int _end = {{ ptr(p.first) }}[_step];
        int _count = 0;
        for (int _neuron = 0; _neuron < {{ p.n }}; _neuron++)
            if ({{ ptr(p.z) }}[_neuron] > 0)
            {
                {{ ptr(p.spikes) }}[_end++] = _neuron;
                {{ ptr(p.spikespace) }}[_count++] = _neuron;
            }
        {{ ptr(p.spikespace) }}[{{ p.n }}] = _count;
        {{ ptr(p.first) }}[_step + 1] = _end;
    }
    {% endfor %}
}

//// readout: sees the spikes of this step
{
    const int _t = _step;
    const int _from = _step;
    {% for p in plan.projections if p.kind == 'readout' %}
    {{ spikes(p.deliver, ns.sources[p.source], p) }}
    {% if plan.online %}
    {{ each(p.pre_trace, '_neuron', p.n_pre) }}
    {% endif %}
    {% endfor %}
    {{ each(plan.readout.advance, '_neuron', plan.readout.n) }}
    {% if plan.softmax %}
    {{ pairs(plan.readout.softmax, plan.readout.n, plan.readout.n) }}
    {% endif %}
    {
        {% set block = plan.readout.loss %}
        const int _first_sample = {{ ptr(plan.data.target) }}[_trial]*{{ plan.target_steps*plan.readout.n }}
            {{ '+ _step*%d' % plan.readout.n if plan.target_steps > 1 else '' }};
        {{ scalar_code[block]|join('\n') }}
        for (int _neuron = 0; _neuron < {{ plan.readout.n }}; _neuron++)
        {
            const int _sample = _first_sample + _neuron;
            const int _history = _t*{{ plan.readout.n }} + _neuron;
            {{ vector_code[block]|join('\n') }}
        }
    }
}

{% if plan.online %}
//// learning signals and traces
if (_learning)
{
    const int _t = _step;
    {% for f in plan.feedback %}
    for (int _neuron = 0; _neuron < {{ f.n_post }}; _neuron++) {{ ptr(f.signal) }}[_neuron] = 0;
    {{ pairs(f.deliver, f.n_pre, f.n_post) }}
    {% endfor %}
    {% for p in plan.projections %}
    {{ pairs(p.trace, p.n_pre, p.n_post) }}
    {% endfor %}
}
{% endif %}

//// end of a trial
if (_trial_ends)
{
    {% for p in plan.populations %}
    for (int _neuron = 0; _neuron < {{ p.n }}; _neuron++)
        {{ ptr(plan.data.spike_count) }}[_trial] += {{ ptr(p.spike_count) }}[_neuron];
    {% endfor %}
    {
        {% set block = plan.readout.outcome %}
        {{ scalar_code[block]|join('\n') }}
        for (int _neuron = 0; _neuron < {{ plan.readout.n }}; _neuron++)
        {
            const int _record = _trial*{{ plan.readout.n }} + _neuron;
            {{ vector_code[block]|join('\n') }}
        }
    }
    if (_learning)
    {
        {% for p in plan.populations %}
        {{ each(p.tally if plan.rate_per_batch else p.rate, '_neuron', p.n) }}
        {% endfor %}
        {% if plan.online %}
        {
            const int _t = _step;
            {% for p in plan.projections %}
            {{ pairs(p.gradient, p.n_pre, p.n_post) }}
            {% endfor %}
        }
        {% else %}
        // errors filtered backwards by the readout
        {{ each(plan.readout.zero, '_neuron', plan.readout.n) }}
        for (int _t = _T - 1; _t >= 0; _t--)
            {{ neurons(plan.readout.backward, plan.readout.n) }}
        // backwards inside each neuron
        {% for p in plan.populations %}
        {{ each(p.zero, '_neuron', p.n) }}
        for (int _t = _T - 1; _t >= 0; _t--)
        {
            for (int _neuron = 0; _neuron < {{ p.n }}; _neuron++) {{ ptr(p.L_filtered) }}[_neuron] = 0;
            {% for f in plan.feedback if f.target == p.name %}
            {{ pairs(f.deliver, f.n_pre, f.n_post) }}
            {% endfor %}
            {{ neurons(p.backward, p.n) }}
        }
        {% endfor %}
        // over the presynaptic spikes
        {% for p in plan.projections %}
        for (int _t = {{ p.delay }}; _t < _T; _t++)
        {
            const int _from = _t - {{ p.delay }};
            {{ spikes(p.accumulate, ns.sources[p.source], p) }}
        }
        {% endfor %}
        {% endif %}
        if ((_trial + 1) % {{ ptr(plan.control.batch_size) }}[0] == 0)
        {
            {{ ptr(plan.control.k) }}[0] += 1;
            const int _t = _step;
            {% for p in plan.populations if plan.rate_per_batch %}
            {{ each(p.rate, '_neuron', p.n) }}
            {% endfor %}
            {% for p in plan.projections %}
            {{ pairs(p.optimize, p.n_pre, p.n_post) }}
            {% endfor %}
            {% for f in plan.feedback if f.follows is defined %}
            for (int _pre = 0; _pre < {{ f.n_pre }}; _pre++)
                for (int _post = 0; _post < {{ f.n_post }}; _post++)
                    {{ ptr(f.B) }}[_pre*{{ f.n_post }} + _post] = {{ ptr(f.follows) }}[_post*{{ f.n_pre }} + _pre];
            {% endfor %}
        }
    }
    {{ ptr(plan.control.step) }}[0] = 0;
    {{ ptr(plan.control.trial) }}[0] = _trial + 1;
    if (_trial + 1 == {{ ptr(plan.control.n_trials) }}[0])
        Network::_globally_stopped = true;
}
else
    {{ ptr(plan.control.step) }}[0] = _step + 1;
} while ({{ '!_trial_ends' if plan.whole_trial else 'false' }});
{% endblock %}
