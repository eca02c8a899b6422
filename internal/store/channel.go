package store

import (
	"context"
	"fmt"
	"time"

	"github.com/perigee-monitoring/perigee/internal/notify"
)

var (
	_ notify.Store = (*DB)(nil)
	_ notify.Tx    = (*Tx)(nil)
)

const channelRows = `SELECT c.id, c.name, c.description, c.enabled, c.type, c.config, c.delivered_at, c.failing_since, c.last_error, c.created_at, c.updated_at
	FROM channels AS c`

func scanChannel(row scanner) (c notify.Channel, err error) {
	return c, row.Scan(&c.ID, &c.Name, &c.Description, &c.Enabled, &c.Type, document{&c.Config}, momentOrNil{&c.DeliveredAt}, momentOrNil{&c.FailingSince},
		&c.LastError, moment{&c.CreatedAt}, moment{&c.UpdatedAt})
}

func channelNamed(what string) string { return fmt.Sprintf("channel %q", what) }

// LockChannels makes transactions that define channels wait for each other.
func (tx *Tx) LockChannels(ctx context.Context) error { return tx.exclusive(ctx, lockChannels) }

func (db *DB) Channel(ctx context.Context, id string) (notify.Channel, error) {
	return one(ctx, db.reads(), channelNamed(id), scanChannel, channelRows+` WHERE c.id = $1`, id)
}

func (db *DB) ChannelByName(ctx context.Context, name string) (notify.Channel, error) {
	return one(ctx, db.reads(), channelNamed(name), scanChannel, channelRows+` WHERE c.name = $1`, name)
}

func (db *DB) Channels(ctx context.Context) ([]notify.Channel, error) {
	return all(ctx, db.reads(), scanChannel, channelRows+` ORDER BY c.name`)
}

func (tx *Tx) ChannelForUpdate(ctx context.Context, id string) (notify.Channel, error) {
	return one(ctx, tx.conn, channelNamed(id), scanChannel, channelRows+` WHERE c.id = $1 FOR UPDATE`, id)
}

func (tx *Tx) CountChannels(ctx context.Context) (int, error) {
	n, err := one(ctx, tx.conn, "channel", scanInt64, `SELECT count(*) FROM channels`)
	return int(n), err
}

func (tx *Tx) PutChannel(ctx context.Context, c notify.Channel) error {
	if err := tx.touch(ctx, "channels", c.ID); err != nil {
		return err
	}
	config, err := jsonText(c.Config)
	if err != nil {
		return err
	}
	_, err = tx.execNaming(ctx, c.Name, `INSERT INTO channels (id, name, description, enabled, type, config, delivered_at, failing_since, last_error, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, description = excluded.description, enabled = excluded.enabled, type = excluded.type,
			config = excluded.config, delivered_at = excluded.delivered_at, failing_since = excluded.failing_since, last_error = excluded.last_error,
			updated_at = excluded.updated_at`,
		c.ID, stored(c.Name), stored(c.Description), c.Enabled, string(c.Type), config, microsOrNil(c.DeliveredAt), microsOrNil(c.FailingSince), stored(c.LastError),
		c.CreatedAt.UnixMicro(), c.UpdatedAt.UnixMicro())
	return err
}

func (tx *Tx) DeleteChannel(ctx context.Context, id string) error {
	if err := tx.touch(ctx, "channels", id); err != nil {
		return err
	}
	return tx.execOne(ctx, channelNamed(id), `DELETE FROM channels WHERE id = $1`, id)
}

const deliveryRows = `SELECT d.key, d.channel_id, d.state, d.title, d.attempts, d.error, d.at FROM deliveries AS d`

func scanDelivery(row scanner) (d notify.Delivery, err error) {
	return d, row.Scan(&d.Key, &d.ChannelID, &d.State, &d.Title, &d.Attempts, &d.Error, moment{&d.At})
}

func (db *DB) Deliveries(ctx context.Context, channelID string, limit int) ([]notify.Delivery, error) {
	return all(ctx, db.reads(), scanDelivery, deliveryRows+` WHERE d.channel_id = $1 ORDER BY d.at DESC, d.key LIMIT $2`, channelID, limit)
}

func (tx *Tx) DeliveryForUpdate(ctx context.Context, channelID, key string) (notify.Delivery, error) {
	return one(ctx, tx.conn, "delivery", scanDelivery, deliveryRows+` WHERE d.channel_id = $1 AND d.key = $2 FOR UPDATE`, channelID, key)
}

func (tx *Tx) PutDelivery(ctx context.Context, d notify.Delivery) error {
	_, err := tx.exec(ctx, `INSERT INTO deliveries (channel_id, key, state, title, attempts, error, at) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (channel_id, key) DO UPDATE SET state = excluded.state, attempts = excluded.attempts, error = excluded.error, at = excluded.at`,
		d.ChannelID, d.Key, string(d.State), stored(d.Title), d.Attempts, stored(d.Error), d.At.UnixMicro())
	return err
}

// PurgeDeliveries forgets what was sent before then.
func (db *DB) PurgeDeliveries(ctx context.Context, before time.Time) error {
	_, err := db.writes().exec(ctx, `DELETE FROM deliveries WHERE at < $1`, before.UnixMicro())
	return err
}
