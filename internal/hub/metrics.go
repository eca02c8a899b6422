package hub

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the hub's figures, one collector to be registered.
type Metrics struct {
	connections    prometheus.Gauge
	sessions       prometheus.Gauge
	refusedSockets prometheus.Counter
	handshakes     *prometheus.CounterVec // result
	closes         *prometheus.CounterVec // reason
	rivals         prometheus.Counter
	messages       *prometheus.CounterVec // type
	refused        *prometheus.CounterVec // reason
	lost           prometheus.Counter
	retries        prometheus.Counter
	pushes         *prometheus.CounterVec // kind
	pushFailures   prometheus.Counter
	secrets        *prometheus.CounterVec // result
	received, sent prometheus.Counter
}

// NewMetrics makes the figures, all at zero. Those with a fixed set of labels show
// each of them from the beginning, so that a rate has something to start from.
func NewMetrics() *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "perigee", Subsystem: "hub", Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "perigee", Subsystem: "hub", Name: name, Help: help})
	}
	vec := func(name, help, label string, values ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "perigee", Subsystem: "hub", Name: name, Help: help}, []string{label})
		for _, value := range values {
			v.WithLabelValues(value)
		}
		return v
	}
	var reasons []string
	for _, r := range allReasons {
		reasons = append(reasons, r.name)
	}
	return &Metrics{
		connections:    gauge("connections", "Open connections, authenticated or not."),
		sessions:       gauge("sessions", "Authenticated sessions."),
		refusedSockets: counter("sockets_refused_total", "Sockets refused before the upgrade: too many had not authenticated."),
		handshakes:     vec("handshakes_total", "Authentications by result.", "result", "ok", "refused", "too_many", "held_off", "unavailable", "internal"),
		closes:         vec("closes_total", "Connections that ended, by reason.", "reason", reasons...),
		rivals:         counter("duplicate_identities_total", "Satellites found to be used by two processes at once."),
		messages:       vec("messages_total", "Messages from satellites by type.", "type", "invalid", "unknown"),
		refused:        vec("results_refused_total", "Results and skips that were refused for good, by reason.", "reason", notAssigned, unusable, notStored),
		lost:           counter("results_lost_total", "Results of original agents that could not be stored in time."),
		retries:        counter("result_retries_total", "Submissions that were tried again because the database was away."),
		pushes:         vec("pushes_total", "Changes of assignments sent, by kind.", "kind", "full", "delta", "two_step"),
		pushFailures:   counter("push_failures_total", "Changes of assignments that could not be computed at first."),
		secrets:        vec("secret_requests_total", "Requests of satellites for values of secrets, by result.", "result", "given", "refused", "failed", "too_many"),
		received:       counter("received_bytes_total", "Bytes of messages from satellites."),
		sent:           counter("sent_bytes_total", "Bytes of messages to satellites."),
	}
}

func (m *Metrics) all() []prometheus.Collector {
	return []prometheus.Collector{
		m.connections, m.sessions, m.refusedSockets, m.handshakes, m.closes, m.rivals,
		m.messages, m.refused, m.lost, m.retries, m.pushes, m.pushFailures, m.secrets, m.received, m.sent,
	}
}

// Describe is prometheus.Collector's.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.all() {
		c.Describe(ch)
	}
}

// Collect is prometheus.Collector's.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.all() {
		c.Collect(ch)
	}
}
