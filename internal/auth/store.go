package auth

import (
	"context"
	"time"

	"github.com/perigee-monitoring/perigee/internal/entity"
)

// Store is what auth reads, and writes in one statement.
type Store interface {
	entity.Store

	TokenByDigest(ctx context.Context, digest string) (Token, error) // NotFound
	Token(ctx context.Context, id string) (Token, error)             // NotFound
	Tokens(ctx context.Context) ([]Token, error)                     // by name
	InsertToken(ctx context.Context, t Token) error                  // Conflict: digest known
	// ReplaceToken makes t the only token of its name that nobody owns. One whose digest
	// is known keeps its id and age, and takes the name.
	ReplaceToken(ctx context.Context, t Token) error
	CountTokens(ctx context.Context) (int, error)
	NoteTokenUse(ctx context.Context, id string, at time.Time) error
	DeleteToken(ctx context.Context, id string) error // NotFound

	User(ctx context.Context, id string) (Account, error)         // NotFound
	UserByName(ctx context.Context, name string) (Account, error) // NotFound
	Users(ctx context.Context) ([]Account, error)                 // by name

	SessionByDigest(ctx context.Context, digest string) (Session, error) // NotFound
	DeleteSession(ctx context.Context, digest string) error              // of one that may have ended
}

// Tx is what auth does in a transaction.
type Tx interface {
	entity.Tx
	// LockAccounts makes transactions that decide about users and tokens wait for each other.
	LockAccounts(ctx context.Context) error
	Accounts(ctx context.Context) ([]Account, error)
	APITokens(ctx context.Context) ([]Token, error)
	InsertAPIToken(ctx context.Context, t Token) error
	PutAccount(ctx context.Context, a Account) error      // Conflict: name taken
	DeleteAccount(ctx context.Context, id string) error   // with its tokens and sessions; NotFound
	EndSessionsOf(ctx context.Context, user string) error // all of the user's
	// InsertSession forgets sessions that have ended, and the oldest beyond keep.
	InsertSession(ctx context.Context, s Session, keep int) error

	AddSetupCode(ctx context.Context, digest string, at time.Time, keep int) error // and forgets the oldest beyond keep
	SetupCodes(ctx context.Context) ([]string, error)                              // digests
	DeleteSetupCodes(ctx context.Context) error
}
