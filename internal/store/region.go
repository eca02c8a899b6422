package store

import (
	"context"

	"github.com/perigee-monitoring/perigee/internal/fleet"
)

// Regions are those that have a satellite, by name.
func (db *DB) Regions(ctx context.Context) ([]fleet.Region, error) {
	return all(ctx, db.reads(), func(row scanner) (r fleet.Region, err error) {
		return r, row.Scan(&r.Region, &r.Satellites, &r.Online, &r.NeverConnected, &r.Ill, &r.Cordoned)
	}, `SELECT s.region, count(*), coalesce(sum(CASE WHEN `+online+` THEN 1 ELSE 0 END), 0),
			coalesce(sum(CASE WHEN s.last_connection_event IS NULL THEN 1 ELSE 0 END), 0),
			coalesce(sum(CASE WHEN s.ill_since IS NOT NULL THEN 1 ELSE 0 END), 0),
			coalesce(sum(CASE WHEN s.cordoned_at IS NOT NULL THEN 1 ELSE 0 END), 0)
		FROM satellites AS s GROUP BY s.region ORDER BY s.region`)
}
