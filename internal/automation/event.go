package automation

import (
	"reflect"
	"slices"

	"github.com/perigee-monitoring/perigee/internal/entity"
)

// EventType is one that triggers may name.
type EventType struct {
	Type string `json:"type"`
	// Kind of the entity whose change it is. Its id is the context of the run.
	Kind    string `json:"kind"`
	Summary string `json:"summary"`
	// Fields are what the config of a trigger of this event may say.
	Fields []Field `json:"fields"`
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
func EventTypes() []EventType {
	all := slices.Clone(eventTypes)
	for i := range all {
		all[i].Fields = []Field{}
		if config, has := triggerConfigs[all[i].Type]; has {
			all[i].Fields = fieldsOf(config)
		}
	}
	return all
}

// triggerConfigs are the types of the configs of those that have one.
var triggerConfigs = map[string]reflect.Type{
	EventCron: reflect.TypeFor[CronConfig](), EventInterval: reflect.TypeFor[IntervalConfig](), EventWebhook: reflect.TypeFor[WebhookConfig](),
	EventNumericState: reflect.TypeFor[NumericTrigger](), EventCheckFailed: reflect.TypeFor[CheckFailedConfig](), entity.TypeChanged: reflect.TypeFor[ChangeConfig](),
}

var eventTypes = []EventType{
	{Type: "satellite.connected", Kind: "satellite-connection", Summary: "A satellite is there, for the first time or again."},
	{Type: "satellite.disconnected", Kind: "satellite-connection", Summary: "A satellite's connection was closed."},
	{Type: "satellite.heartbeat_lost", Kind: "satellite-connection", Summary: "Nothing was heard of a satellite for longer than its threshold."},
	{Type: "satellite.created", Kind: "satellite", Summary: "A satellite was added."},
	{Type: "satellite.updated", Kind: "satellite", Summary: "A satellite's name, region, tags or threshold changed."},
	{Type: "satellite.removed", Kind: "satellite", Summary: "A satellite was removed."},
	{Type: "satellite.cordoned", Kind: "satellite", Summary: "A satellite gets no new work."},
	{Type: "satellite.uncordoned", Kind: "satellite", Summary: "A satellite gets work again."},
	{Type: "satellite.draining", Kind: "satellite", Summary: "A satellite's work is handed to others."},
	{Type: "satellite.token_rotated", Kind: "satellite", Summary: "A satellite has a new token."},
	{Type: "satellite.token_expiring", Kind: "satellite", Summary: "A satellite's token ends soon."},
	{Type: "satellite.previous_token_revoked", Kind: "satellite", Summary: "The token before a satellite's new one is void."},
	{Type: "satellite.duplicate_identity", Kind: "satellite", Summary: "Two agents use the token of one satellite."},
	{Type: "satellite.ill", Kind: "satellite-observer", Summary: "A satellite fares badly itself."},
	{Type: "satellite.well", Kind: "satellite-observer", Summary: "A satellite fares well again."},
	{Type: "satellite.clock_skew", Kind: "satellite-observer", Summary: "A satellite's clock is wrong."},
	{Type: "satellite.clock_right", Kind: "satellite-observer", Summary: "A satellite's clock is right again."},
	{Type: "region.ill", Kind: "region-observer", Summary: "Most satellites of a region fare badly."},
	{Type: "region.well", Kind: "region-observer", Summary: "A region fares well again."},
	{Type: "core.blind", Kind: "core", Summary: "No core was looking for a while."},
	{Type: "healthcheck.system_degraded", Kind: "health", Summary: "A system is degraded or unhealthy."},
	{Type: "healthcheck.system_healthy", Kind: "health", Summary: "A system is healthy again."},
	{Type: "healthcheck.system_health_changed", Kind: "health", Summary: "A system's status changed."},
	{Type: "healthcheck.check_degraded", Kind: "check-health", Summary: "The verdict on a check of a system became worse."},
	{Type: EventCheckFailed, Kind: "check-run", Summary: "A run of a check failed, whether or not that is news; config says of which: system, check."},
	{Type: EventNumericState, Kind: "check-run", Summary: "A number that a check found lies within the bounds of the trigger's config: field, above, below."},
	{Type: "system.created", Kind: "system", Summary: "A system was added."},
	{Type: "system.updated", Kind: "system", Summary: "A system was changed."},
	{Type: "system.deleted", Kind: "system", Summary: "A system was removed."},
	{Type: "check.created", Kind: "check", Summary: "A check was added."},
	{Type: "check.updated", Kind: "check", Summary: "A check was changed."},
	{Type: "check.deleted", Kind: "check", Summary: "A check was removed."},
	{Type: "assignment.created", Kind: "assignment", Summary: "A check was assigned to a system."},
	{Type: "assignment.updated", Kind: "assignment", Summary: "An assignment was changed."},
	{Type: "assignment.deleted", Kind: "assignment", Summary: "An assignment was removed."},
	{Type: "assignment.moved", Kind: "seat", Summary: "A place of a counted assignment went to another satellite."},
	{Type: "maintenance.created", Kind: "maintenance", Summary: "A maintenance was planned."},
	{Type: "maintenance.updated", Kind: "maintenance", Summary: "A maintenance was changed."},
	{Type: "maintenance.deleted", Kind: "maintenance", Summary: "A maintenance was removed."},
	{Type: "maintenance.started", Kind: "maintenance", Summary: "A maintenance has begun."},
	{Type: "maintenance.ended", Kind: "maintenance", Summary: "A maintenance is over."},
	{Type: "incident.created", Kind: "incident", Summary: "An incident was opened."},
	{Type: "incident.updated", Kind: "incident", Summary: "An incident was changed."},
	{Type: "incident.resolved", Kind: "incident", Summary: "An incident was resolved."},
	{Type: "channel.created", Kind: "channel", Summary: "A notification channel was added."},
	{Type: "channel.updated", Kind: "channel", Summary: "A notification channel was changed."},
	{Type: "channel.deleted", Kind: "channel", Summary: "A notification channel was removed."},
	{Type: "channel.failing", Kind: "channel", Summary: "A notification channel does not deliver."},
	{Type: "channel.recovered", Kind: "channel", Summary: "A notification channel delivers again."},
	{Type: "secret.created", Kind: "secret", Summary: "A secret was added."},
	{Type: "secret.updated", Kind: "secret", Summary: "A secret has a new value."},
	{Type: "secret.deleted", Kind: "secret", Summary: "A secret was removed."},
	{Type: "secret.key_rotated", Kind: "secret", Summary: "Secrets are sealed with a new key."},
	{Type: "sandbox.policy_changed", Kind: "sandbox", Summary: "What scripts may do was changed."},
	{Type: "script-packages.changed", Kind: "script-packages", Summary: "Scripts may import other packages."},
	{Type: "script-packages.failed", Kind: "script-packages", Summary: "Packages for scripts could not be installed."},
	{Type: entity.TypeChanged, Kind: "", Summary: "Any other change of an entity; config.kind says of which kind."},
	{Type: EventCron, Kind: "automation", Summary: "A time of the calendar: config.cronPattern and timezone."},
	{Type: EventInterval, Kind: "automation", Summary: "Again and again: config.intervalSeconds."},
	{Type: EventWebhook, Kind: "hook", Summary: "A signed call of /hooks/{hook}: config.hook and secret."},
	{Type: EventManual, Kind: "automation", Summary: "A person began it. Any automation can be begun so."},
}
