package automation

import "github.com/perigee-monitoring/perigee/internal/entity"

// EventType is one that triggers may name.
type EventType struct {
	Type string `json:"type"`
	// Kind of the entity whose change it is. Its id is the context of the run.
	Kind    string `json:"kind"`
	Summary string `json:"summary"`
}

// The events that are made by the automations themselves (spec D.4).
const (
	EventCron     = "automation.cron"
	EventInterval = "automation.interval"
	// EventWebhook is a call from outside; its entity is the name of the hook.
	EventWebhook = "automation.webhook"
	// EventManual is a person's. It needs no trigger that names it.
	EventManual = "automation.manual"
	// EventNumericState is a number that a check found (D.4).
	EventNumericState = "automation.numeric_state"
)

// EventTypes are all that there are. A trigger that names another would never fire, and
// is refused. The derivers of the domain make them: a test reads their sources.
func EventTypes() []EventType { return eventTypes }

var eventTypes = []EventType{
	{"satellite.connected", "satellite-connection", "A satellite is there, for the first time or again."},
	{"satellite.disconnected", "satellite-connection", "A satellite's connection was closed."},
	{"satellite.heartbeat_lost", "satellite-connection", "Nothing was heard of a satellite for longer than its threshold."},
	{"satellite.created", "satellite", "A satellite was added."},
	{"satellite.updated", "satellite", "A satellite's name, region, tags or threshold changed."},
	{"satellite.removed", "satellite", "A satellite was removed."},
	{"satellite.cordoned", "satellite", "A satellite gets no new work."},
	{"satellite.uncordoned", "satellite", "A satellite gets work again."},
	{"satellite.draining", "satellite", "A satellite's work is handed to others."},
	{"satellite.token_rotated", "satellite", "A satellite has a new token."},
	{"satellite.token_expiring", "satellite", "A satellite's token ends soon."},
	{"satellite.previous_token_revoked", "satellite", "The token before a satellite's new one is void."},
	{"satellite.duplicate_identity", "satellite", "Two agents use the token of one satellite."},
	{"satellite.ill", "satellite-observer", "A satellite fares badly itself."},
	{"satellite.well", "satellite-observer", "A satellite fares well again."},
	{"satellite.clock_skew", "satellite-observer", "A satellite's clock is wrong."},
	{"satellite.clock_right", "satellite-observer", "A satellite's clock is right again."},
	{"region.ill", "region-observer", "Most satellites of a region fare badly."},
	{"region.well", "region-observer", "A region fares well again."},
	{"core.blind", "core", "No core was looking for a while."},
	{"healthcheck.system_degraded", "health", "A system is degraded or unhealthy."},
	{"healthcheck.system_healthy", "health", "A system is healthy again."},
	{"healthcheck.system_health_changed", "health", "A system's status changed."},
	{"healthcheck.check_degraded", "check-health", "The verdict on a check of a system became worse."},
	{EventCheckFailed, "check-run", "A run of a check failed, whether or not that is news; config says of which: system, check."},
	{EventNumericState, "check-run", "A number that a check found lies within the bounds of the trigger's config: field, above, below."},
	{"system.created", "system", "A system was added."},
	{"system.updated", "system", "A system was changed."},
	{"system.deleted", "system", "A system was removed."},
	{"check.created", "check", "A check was added."},
	{"check.updated", "check", "A check was changed."},
	{"check.deleted", "check", "A check was removed."},
	{"assignment.created", "assignment", "A check was assigned to a system."},
	{"assignment.updated", "assignment", "An assignment was changed."},
	{"assignment.deleted", "assignment", "An assignment was removed."},
	{"assignment.moved", "seat", "A place of a counted assignment went to another satellite."},
	{"maintenance.created", "maintenance", "A maintenance was planned."},
	{"maintenance.updated", "maintenance", "A maintenance was changed."},
	{"maintenance.deleted", "maintenance", "A maintenance was removed."},
	{"maintenance.started", "maintenance", "A maintenance has begun."},
	{"maintenance.ended", "maintenance", "A maintenance is over."},
	{"incident.created", "incident", "An incident was opened."},
	{"incident.updated", "incident", "An incident was changed."},
	{"incident.resolved", "incident", "An incident was resolved."},
	{"channel.created", "channel", "A notification channel was added."},
	{"channel.updated", "channel", "A notification channel was changed."},
	{"channel.deleted", "channel", "A notification channel was removed."},
	{"channel.failing", "channel", "A notification channel does not deliver."},
	{"channel.recovered", "channel", "A notification channel delivers again."},
	{"secret.created", "secret", "A secret was added."},
	{"secret.updated", "secret", "A secret has a new value."},
	{"secret.deleted", "secret", "A secret was removed."},
	{"secret.key_rotated", "secret", "Secrets are sealed with a new key."},
	{"sandbox.policy_changed", "sandbox", "What scripts may do was changed."},
	{"script-packages.changed", "script-packages", "Scripts may import other packages."},
	{"script-packages.failed", "script-packages", "Packages for scripts could not be installed."},
	{entity.TypeChanged, "", "Any other change of an entity; config.kind says of which kind."},
	{EventCron, "automation", "A time of the calendar: config.cronPattern and timezone."},
	{EventInterval, "automation", "Again and again: config.intervalSeconds."},
	{EventWebhook, "hook", "A signed call of /hooks/{hook}: config.hook and secret."},
	{EventManual, "automation", "A person began it. Any automation can be begun so."},
}
