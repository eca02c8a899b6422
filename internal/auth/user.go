package auth

import (
	"context"
	"crypto/rand"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/perigee-monitoring/perigee/internal/fault"
)

// maxUsers bounds the users there are.
const maxUsers = 10_000

// User is a person who may sign in.
type User struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Role       Role       `json:"role" enum:"viewer,operator,admin"`
	Disabled   bool       `json:"disabled" doc:"They cannot sign in, and their tokens do not work."`
	CreatedAt  time.Time  `json:"createdAt"`
	UpdatedAt  time.Time  `json:"updatedAt"`
	SignedInAt *time.Time `json:"signedInAt" doc:"Null is never."`
}

// Account is a user as it is stored.
type Account struct {
	User
	// Password is its digest.
	Password string
}

// NewUser is what is asked of a new user. Without a password one is made.
type NewUser struct {
	Name, Password string
	Role           Role
}

// UserPatch is what shall be otherwise; nil stays.
type UserPatch struct {
	Role     *Role
	Disabled *bool
}

var userName = regexp.MustCompile(`^[a-z0-9][a-z0-9._@+-]{0,62}$`)

// Accounts are users and tokens, and what is decided about them.
type Accounts struct {
	store     Store
	passwords *digester
	failures  failures // of those who say their present password, by user
}

// NewAccounts makes the service.
func NewAccounts(store Store) *Accounts { return &Accounts{store: store, passwords: newDigester()} }

// ListUsers are the users by name.
func (a *Accounts) ListUsers(ctx context.Context) ([]User, error) {
	all, err := a.store.Users(ctx)
	users := make([]User, len(all))
	for i, account := range all {
		users[i] = account.User
	}
	return users, err
}

// GetUser is the user of the id or name. Fault: NotFound.
func (a *Accounts) GetUser(ctx context.Context, ref string) (User, error) {
	all, err := a.store.Users(ctx)
	if err != nil {
		return User{}, err
	}
	found, err := find(all, ref)
	return found.User, err
}

func find(all []Account, ref string) (Account, error) {
	i := slices.IndexFunc(all, func(u Account) bool { return u.ID == ref })
	if i < 0 {
		i = slices.IndexFunc(all, func(u Account) bool { return u.Name == strings.ToLower(ref) })
	}
	if i < 0 {
		return Account{}, fault.New(fault.NotFound, "there is no user %q", ref)
	}
	return all[i], nil
}

// CreateUser makes a user. Password is the one that was made, "" when one was given.
// Faults: Invalid, Conflict.
func (a *Accounts) CreateUser(ctx context.Context, n NewUser) (made User, password string, err error) {
	account, password, err := a.newAccount(ctx, n)
	if err != nil {
		return User{}, "", err
	}
	err = a.inTx(ctx, func(tx Tx) error {
		all, err := tx.Accounts(ctx)
		if err != nil {
			return err
		}
		if len(all) >= maxUsers {
			return fault.New(fault.Conflict, "there are %d users already; delete some first", maxUsers)
		}
		return put(ctx, tx, &account)
	})
	return account.User, password, err
}

func (a *Accounts) newAccount(ctx context.Context, n NewUser) (account Account, password string, err error) {
	n.Name = strings.ToLower(strings.TrimSpace(n.Name))
	var wrong []fault.Field
	if !userName.MatchString(n.Name) {
		wrong = append(wrong, fault.Field{Path: "name", Message: "a letter or digit, then letters, digits and . _ @ + -, at most 63 in all", Value: n.Name})
	}
	if !n.Role.Valid() {
		wrong = append(wrong, fault.Field{Path: "role", Message: "must be viewer, operator or admin", Value: string(n.Role)})
	}
	if len(wrong) > 0 {
		return Account{}, "", &fault.Error{Kind: fault.Invalid, Message: "the user is not valid", Fields: wrong}
	}
	account = Account{User: User{ID: newID(), Name: n.Name, Role: n.Role}}
	account.Password, password, err = a.secured(ctx, n.Name, n.Password)
	return account, password, err
}

// secured digests the password, or one that it makes and gives.
func (a *Accounts) secured(ctx context.Context, name, chosen string) (digest, made string, err error) {
	if chosen == "" {
		made = rand.Text()
		chosen = made
	} else if err := checkPassword(name, chosen); err != nil {
		return "", "", err
	}
	digest, err = a.passwords.digest(ctx, chosen)
	return digest, made, err
}

// put writes the account, of now.
func put(ctx context.Context, tx Tx, account *Account) (err error) {
	if account.UpdatedAt, err = tx.Now(ctx); err != nil {
		return err
	}
	if account.CreatedAt.IsZero() {
		account.CreatedAt = account.UpdatedAt
	}
	return tx.PutAccount(ctx, *account)
}

// change alters an account under lock, unless no administrator would be left.
func (a *Accounts) change(ctx context.Context, ref string, alter func(*Account)) (after User, err error) {
	err = a.inTx(ctx, func(tx Tx) error {
		all, err := tx.Accounts(ctx)
		if err != nil {
			return err
		}
		account, err := find(all, ref)
		if err != nil {
			return err
		}
		before := account.User
		alter(&account)
		if administers(before) && !administers(account.User) {
			if err := anotherAdmin(all, before); err != nil {
				return err
			}
		}
		if err := put(ctx, tx, &account); err != nil {
			return err
		}
		after = account.User
		if account.Disabled {
			return tx.EndSessionsOf(ctx, account.ID)
		}
		return nil
	})
	return after, err
}

func administers(u User) bool { return u.Role == Admin && !u.Disabled }

// anotherAdmin reports that somebody else can let people in again.
func anotherAdmin(all []Account, but User) error {
	for _, other := range all {
		if other.ID != but.ID && administers(other.User) {
			return nil
		}
	}
	return fault.New(fault.Conflict, "%s is the only administrator; make another one first", but.Name)
}

// UpdateUser gives a user another role, disables or enables them. Faults: NotFound,
// Invalid, Conflict when they are the last administrator.
func (a *Accounts) UpdateUser(ctx context.Context, ref string, p UserPatch) (User, error) {
	if p.Role != nil && !p.Role.Valid() {
		return User{}, &fault.Error{Kind: fault.Invalid, Message: "the user is not valid", Fields: []fault.Field{{Path: "role", Message: "must be viewer, operator or admin", Value: string(*p.Role)}}}
	}
	return a.change(ctx, ref, func(account *Account) {
		if p.Role != nil {
			account.Role = *p.Role
		}
		if p.Disabled != nil {
			account.Disabled = *p.Disabled
		}
	})
}

// DeleteUser takes a user away, with their tokens and sessions. Faults as of UpdateUser.
func (a *Accounts) DeleteUser(ctx context.Context, ref string) (gone User, err error) {
	err = a.inTx(ctx, func(tx Tx) error {
		all, err := tx.Accounts(ctx)
		if err != nil {
			return err
		}
		account, err := find(all, ref)
		if err != nil {
			return err
		}
		if administers(account.User) {
			if err := anotherAdmin(all, account.User); err != nil {
				return err
			}
		}
		gone = account.User
		return tx.DeleteAccount(ctx, account.ID)
	})
	return gone, err
}

// ResetPassword gives a user another password, and ends their sessions. Password is the
// one that was made, "" when one was given. Faults: NotFound, Invalid.
func (a *Accounts) ResetPassword(ctx context.Context, ref, chosen string) (after User, password string, err error) {
	user, err := a.GetUser(ctx, ref)
	if err != nil {
		return User{}, "", err
	}
	digest, password, err := a.secured(ctx, user.Name, chosen)
	if err != nil {
		return User{}, "", err
	}
	return user, password, a.setPassword(ctx, user.ID, digest)
}

func (a *Accounts) setPassword(ctx context.Context, id, digest string) error {
	return a.inTx(ctx, func(tx Tx) error {
		all, err := tx.Accounts(ctx)
		if err != nil {
			return err
		}
		account, err := find(all, id)
		if err != nil {
			return err
		}
		account.Password = digest
		if err := put(ctx, tx, &account); err != nil {
			return err
		}
		return tx.EndSessionsOf(ctx, account.ID)
	})
}

// ChangePassword gives p another password when they know the present one; all their
// sessions end. Faults: Forbidden for who has none, Invalid, TooMany after too many wrong
// ones: who found an open session shall not guess its password.
func (a *Accounts) ChangePassword(ctx context.Context, p Principal, present, next string) error {
	if p.UserID == "" || p.TokenID != "" {
		return fault.New(fault.Forbidden, "only who signed in with a password can change it")
	}
	if a.failures.exhausted(p.UserID) {
		return fault.New(fault.TooMany, "the present password was wrong too often; try again later")
	}
	account, err := a.store.User(ctx, p.UserID)
	if err != nil {
		return err
	}
	right, err := a.passwords.right(ctx, account.Password, present)
	if err != nil {
		return err
	}
	if !right {
		a.failures.note(p.UserID)
		return &fault.Error{Kind: fault.Invalid, Message: "the password was not changed", Fields: []fault.Field{{Path: "present", Message: "this is not your password"}}}
	}
	if next == "" {
		return fault.New(fault.Invalid, "the new password is missing")
	}
	digest, _, err := a.secured(ctx, account.Name, next)
	if err != nil {
		return err
	}
	return a.setPassword(ctx, account.ID, digest)
}

// Setup is made of a code that the core printed (setupCodes at most are remembered).
const setupCodes = 16

// SetupCode makes the code with which the first administrator is made, "" when there are
// users already. It is told to who can read the core's log, and to nobody else.
func (a *Accounts) SetupCode(ctx context.Context) (code string, err error) {
	err = a.inTx(ctx, func(tx Tx) error {
		all, err := tx.Accounts(ctx)
		if err != nil || len(all) > 0 {
			return err
		}
		now, err := tx.Now(ctx)
		if err != nil {
			return err
		}
		code = rand.Text()
		return tx.AddSetupCode(ctx, Digest(code), now, setupCodes)
	})
	if err != nil {
		return "", fmt.Errorf("making the set-up code: %w", err)
	}
	return code, nil
}

// Waiting says what there is to sign in with: whether a set-up code waits to be used, and
// whether there are users.
func (a *Accounts) Waiting(ctx context.Context) (setup, users bool, err error) {
	err = a.store.InTx(ctx, inAuth(func(tx Tx) error {
		all, err := tx.Accounts(ctx)
		if err != nil || len(all) > 0 {
			users = len(all) > 0
			return err
		}
		codes, err := tx.SetupCodes(ctx)
		setup = len(codes) > 0
		return err
	}))
	return setup, users, err
}

// setup makes the first administrator. Faults: Unauthenticated when the code is wrong,
// Conflict when there are users already, Invalid.
func (a *Accounts) setup(ctx context.Context, code string, n NewUser) (User, error) {
	n.Role = Admin
	if n.Password == "" {
		return User{}, &fault.Error{Kind: fault.Invalid, Message: "the password is missing", Fields: []fault.Field{{Path: "password", Message: "choose one"}}}
	}
	account, _, err := a.newAccount(ctx, n)
	if err != nil {
		return User{}, err
	}
	err = a.inTx(ctx, func(tx Tx) error {
		all, err := tx.Accounts(ctx)
		if err != nil {
			return err
		}
		if len(all) > 0 {
			return fault.New(fault.Conflict, "there is an administrator already; sign in")
		}
		codes, err := tx.SetupCodes(ctx)
		if err != nil {
			return err
		}
		if !slices.Contains(codes, Digest(strings.ToUpper(strings.TrimSpace(code)))) {
			return fault.New(fault.Unauthenticated, "the set-up code is not right; the core printed it when it started")
		}
		if err := put(ctx, tx, &account); err != nil {
			return err
		}
		return tx.DeleteSetupCodes(ctx)
	})
	return account.User, err
}
