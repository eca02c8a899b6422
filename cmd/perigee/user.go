package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/perigee-monitoring/perigee/internal/auth"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
)

// UserCmd is what can be done with users.
type UserCmd struct {
	Create        UserCreateCmd  `cmd:"" help:"Make a user; a password is made too, and shown once."`
	List          UserListCmd    `cmd:"" help:"List users."`
	Role          UserRoleCmd    `cmd:"" help:"Give a user another role."`
	Disable       UserDisableCmd `cmd:"" help:"Keep a user out, with their tokens and sessions."`
	Enable        UserEnableCmd  `cmd:"" help:"Let a user in again."`
	ResetPassword UserResetCmd   `cmd:"" help:"Give a user another password, shown once; their sessions end."`
	Delete        UserDeleteCmd  `cmd:"" help:"Delete a user, with their tokens."`
}

// UserCreateCmd makes a user.
type UserCreateCmd struct {
	Name          string `arg:"" help:"What they sign in with."`
	Role          string `enum:"viewer,operator,admin" default:"viewer" placeholder:"ROLE" help:"viewer, operator or admin (${default})."`
	PasswordStdin bool   `help:"Take the password from standard input instead of making one."`
}

// Run makes them.
func (c *UserCreateCmd) Run(ctx context.Context, a *app) error {
	body := httpapi.NewUser{Name: c.Name, Role: auth.Role(c.Role)}
	var err error
	if c.PasswordStdin {
		if body.Password, err = a.readSecret("the password of "+c.Name, fmt.Sprintf("perigee user create %s --password-stdin < FILE", c.Name)); err != nil {
			return err
		}
	}
	var made httpapi.UserPassword
	if err := a.client.Post(ctx, "/users", body, &made); err != nil {
		return err
	}
	return a.printPassword(made, fmt.Sprintf("User %s (%s) is made.", made.User.Name, made.User.Role))
}

// printPassword shows what was done, and a password that was made.
func (a *app) printPassword(made httpapi.UserPassword, done string) error {
	return a.print(made, func(w *tabwriter.Writer) {
		fmt.Fprintln(w, done)
		if made.Password != "" {
			fmt.Fprintf(w, "The password is shown this once; they can change it when they have signed in:\n\n  %s\n", made.Password)
		}
	})
}

// UserListCmd lists users.
type UserListCmd struct{}

// Run lists them.
func (c *UserListCmd) Run(ctx context.Context, a *app) error {
	all, err := fetch[auth.User](ctx, a, "/users", nil, 0)
	if err != nil {
		return err
	}
	return a.print(list[auth.User]{all}, func(w *tabwriter.Writer) {
		row(w, "NAME", "ROLE", "MAY SIGN IN", "SIGNED IN", "MADE")
		for _, u := range all {
			row(w, u.Name, string(u.Role), yesNo(!u.Disabled), a.ago(value(u.SignedInAt)), a.ago(u.CreatedAt))
		}
	})
}

// UserRoleCmd gives a user another role.
type UserRoleCmd struct {
	Name string `arg:"" help:"The user."`
	Role string `arg:"" enum:"viewer,operator,admin" help:"viewer, operator or admin."`
}

// Run gives it.
func (c *UserRoleCmd) Run(ctx context.Context, a *app) error {
	role := auth.Role(c.Role)
	return a.updateUser(ctx, c.Name, httpapi.UserPatch{Role: &role})
}

// UserDisableCmd keeps a user out.
type UserDisableCmd struct {
	Name string `arg:"" help:"The user."`
}

// Run does.
func (c *UserDisableCmd) Run(ctx context.Context, a *app) error {
	disabled := true
	return a.updateUser(ctx, c.Name, httpapi.UserPatch{Disabled: &disabled})
}

// UserEnableCmd lets a user in again.
type UserEnableCmd struct {
	Name string `arg:"" help:"The user."`
}

// Run does.
func (c *UserEnableCmd) Run(ctx context.Context, a *app) error {
	disabled := false
	return a.updateUser(ctx, c.Name, httpapi.UserPatch{Disabled: &disabled})
}

func (a *app) updateUser(ctx context.Context, name string, change httpapi.UserPatch) error {
	var u auth.User
	if err := a.client.Patch(ctx, at("/users", name), change, &u); err != nil {
		return err
	}
	return a.print(u, func(w *tabwriter.Writer) {
		may := "may sign in"
		if u.Disabled {
			may = "is kept out"
		}
		fmt.Fprintf(w, "User %s is %s and %s.\n", u.Name, u.Role, may)
	})
}

// UserResetCmd gives a user another password.
type UserResetCmd struct {
	Name          string `arg:"" help:"The user."`
	PasswordStdin bool   `help:"Take the password from standard input instead of making one."`
}

// Run gives it.
func (c *UserResetCmd) Run(ctx context.Context, a *app) error {
	var body httpapi.NewPassword
	var err error
	if c.PasswordStdin {
		if body.Password, err = a.readSecret("the password of "+c.Name, fmt.Sprintf("perigee user reset-password %s --password-stdin < FILE", c.Name)); err != nil {
			return err
		}
	}
	var made httpapi.UserPassword
	if err := a.client.Post(ctx, at("/users", c.Name)+"/reset-password", body, &made); err != nil {
		return err
	}
	return a.printPassword(made, fmt.Sprintf("User %s has another password, and is signed out everywhere.", made.User.Name))
}

// UserDeleteCmd deletes a user.
type UserDeleteCmd struct {
	Name string `arg:"" help:"The user."`
	Yes  bool   `short:"y" help:"Do not ask."`
}

// Run deletes them.
func (c *UserDeleteCmd) Run(ctx context.Context, a *app) error {
	question := fmt.Sprintf("Delete user %s? Their tokens end with them.", c.Name)
	if err := a.confirm(c.Yes, question, fmt.Sprintf("perigee user delete %s --yes", c.Name)); err != nil {
		return err
	}
	return a.client.Delete(ctx, at("/users", c.Name), nil)
}
