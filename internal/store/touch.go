package store

import (
	"context"

	"github.com/perigee-monitoring/perigee/internal/auth"
	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/incident"
	"github.com/perigee-monitoring/perigee/internal/notify"
	"github.com/perigee-monitoring/perigee/internal/packages"
	"github.com/perigee-monitoring/perigee/internal/sandbox"
)

// touch is said before something is written that people can change, by the method that
// writes it: so nobody who changes it can forget to. When an entry of the audit log is to
// be written with the transaction, it locks the rows and keeps what is in them.
func (tx *Tx) touch(ctx context.Context, kind string, ids ...string) error {
	if tx.draft == nil {
		return nil
	}
	var untouched []string
	for _, id := range ids {
		if !tx.touching[[2]string{kind, id}] {
			untouched = append(untouched, id)
		}
	}
	if len(untouched) == 0 {
		return nil
	}
	was, err := touchable[kind](ctx, tx.conn, untouched)
	if err != nil {
		return err
	}
	if tx.touching == nil {
		tx.touching = map[[2]string]bool{}
	}
	for _, id := range untouched {
		tx.touching[[2]string{kind, id}] = true
		tx.touched = append(tx.touched, auth.Touched{Kind: kind, ID: id, Was: was[id]})
	}
	return nil
}

// note writes the entry of the audit log with the transaction, as the last thing that is
// done in it; committed is to be called when it is.
func (tx *Tx) note(ctx context.Context) (committed func(), err error) {
	nothing := func() {}
	if tx.draft == nil || len(tx.touched) == 0 && !tx.altered {
		return nothing, nil
	}
	of := map[string][]string{}
	for _, t := range tx.touched {
		of[t.Kind] = append(of[t.Kind], t.ID)
	}
	is := map[string]map[string]any{}
	for kind, ids := range of {
		if is[kind], err = touchable[kind](ctx, tx.conn, ids); err != nil {
			return nil, err
		}
	}
	for i, t := range tx.touched {
		tx.touched[i].Is = is[t.Kind][t.ID]
	}
	e, open := tx.draft.Entry(tx.touched)
	if !open {
		return nothing, nil
	}
	if e.ID, err = tx.putAudit(ctx, e); err != nil {
		return nil, err
	}
	return func() { tx.draft.Committed(e, tx.touched) }, nil
}

// touchable reads what can be touched as it is in the transaction, by kind and id, and
// locks it. What is not there is left out.
var touchable = map[string]func(ctx context.Context, c conn, ids []string) (map[string]any, error){
	"systems": func(ctx context.Context, c conn, ids []string) (map[string]any, error) {
		items, err := all(ctx, c, scanSystem, systemRows+` WHERE y.id = ANY($1) ORDER BY y.id FOR NO KEY UPDATE OF y`, ids)
		if err == nil {
			err = fillDependencies(ctx, c, items)
		}
		found := map[string]any{}
		for _, s := range items {
			found[s.ID] = s
		}
		return found, err
	},
	"checks":       rows(scanCheck, checkRows, "c", "id", func(c catalog.Check) (string, any) { return c.ID, c }),
	"assignments":  rows(scanAssignment, assignmentRows, "a", "id", func(a catalog.Assignment) (string, any) { return a.ID, a }),
	"maintenances": rows(scanMaintenance, maintenanceRows, "m", "id", func(m catalog.Maintenance) (string, any) { return m.ID, m }),
	"satellites":   rows(scanSatellite, satelliteRows, "s", "id", func(s fleet.Satellite) (string, any) { return s.ID, s }),
	"automations":  rows(scanAutomation, automationRows, "a", "id", func(a automation.Automation) (string, any) { return a.ID, a }),
	"automation-runs": rows(scanAutomationRun, `SELECT `+automationRunColumns+` FROM automation_runs`, "automation_runs", "id",
		func(r automation.Run) (string, any) { return r.ID, r }),
	"channels":  rows(scanChannel, channelRows, "c", "id", func(c notify.Channel) (string, any) { return c.ID, c }),
	"incidents": rows(scanIncident, incidentRows, "i", "id", func(i incident.Incident) (string, any) { return i.ID, i }),
	"notes":     rows(scanNote, noteRows, "n", "id", func(n incident.Note) (string, any) { return n.ID, n }),
	"users":     rows(scanAccount, accountRows, "users", "id", func(a auth.Account) (string, any) { return a.ID, a.User }),
	"tokens":    rows(scanToken, tokenRows, "t", "id", func(t auth.Token) (string, any) { return t.ID, t }),
	"packages":  rows(scanPackage, packageRows, "p", "name", func(p packages.Package) (string, any) { return p.Name, p }),
	"secrets": func(ctx context.Context, c conn, ids []string) (map[string]any, error) {
		found := map[string]any{}
		for r, err := range each(ctx, c, scanSecret, `SELECT `+secretColumns+` FROM secrets WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE`, ids) {
			if err != nil {
				return nil, err
			}
			if shown, ok := r.Shown(); ok {
				found[r.ID] = shown
			}
		}
		return found, nil
	},
	sandbox.Kind: func(ctx context.Context, c conn, _ []string) (map[string]any, error) {
		policy, err := sandbox.Read(one(ctx, c, settingNamed(sandbox.Kind), scanSetting, settingRows+` WHERE name = $1`, sandbox.Kind))
		return map[string]any{sandbox.Kind: policy}, err
	},
}

// rows reads things of a kind that are a row each, whose key is in the column.
func rows[T any](scan func(scanner) (T, error), q, table, key string, id func(T) (string, any)) func(context.Context, conn, []string) (map[string]any, error) {
	key = table + "." + key
	return func(ctx context.Context, c conn, ids []string) (map[string]any, error) {
		found := map[string]any{}
		for item, err := range each(ctx, c, scan, q+` WHERE `+key+` = ANY($1) ORDER BY `+key+` FOR NO KEY UPDATE OF `+table, ids) {
			if err != nil {
				return nil, err
			}
			key, it := id(item)
			found[key] = it
		}
		return found, nil
	}
}
