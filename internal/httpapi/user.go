package httpapi

import (
	"context"
	"net/http"

	"github.com/perigee-monitoring/perigee/internal/auth"
)

// NewUser is the body of POST /users.
type NewUser struct {
	Name     string    `json:"name" maxLength:"63" doc:"Unique; small letters, digits and . _ @ + -."`
	Role     auth.Role `json:"role" enum:"viewer,operator,admin"`
	Password string    `json:"password,omitempty" maxLength:"500" writeOnly:"true" doc:"At least 10 characters; one is made when it is absent."`
}

// UserPatch is the body of PATCH /users/{id}. Absent fields stay.
type UserPatch struct {
	Role     *auth.Role `json:"role,omitempty" enum:"viewer,operator,admin"`
	Disabled *bool      `json:"disabled,omitempty"`
}

// NewPassword is the body of POST /users/{id}/reset-password.
type NewPassword struct {
	Password string `json:"password,omitempty" maxLength:"500" writeOnly:"true" doc:"At least 10 characters; one is made when it is absent."`
}

// PasswordChange is the body of PUT /me/password.
type PasswordChange struct {
	Present  string `json:"present" maxLength:"500" writeOnly:"true"`
	Password string `json:"password" maxLength:"500" writeOnly:"true" doc:"The new one, at least 10 characters."`
}

// UserPassword is a user and the password that was made for them, which is shown this once.
type UserPassword struct {
	User     auth.User `json:"user"`
	Password string    `json:"password,omitempty" doc:"Absent when one was given."`
}

// Me is who asks.
type Me struct {
	Name string    `json:"name"`
	Role auth.Role `json:"role" enum:"viewer,operator,admin"`
	User bool      `json:"user" doc:"A user who signed in with a password; else the holder of a token."`
	May  []string  `json:"may" doc:"The operations of this API that the role allows."`
}

type newPassword struct {
	Ref
	Body *NewPassword
}

func (a *API) addUsers() {
	route(a, http.MethodGet, "/me", "get-me", "Who you are and what you may do", func(ctx context.Context, _ *struct{}) (*answer[Me], error) {
		p := auth.From(ctx)
		return answered(Me{Name: p.Name, Role: p.Role, User: p.TokenID == "", May: auth.Operations(p.Role)}, nil)
	})
	route(a, http.MethodPut, "/me/password", "change-password", "Change your password; all your sessions end", func(ctx context.Context, in *struct{ Body PasswordChange }) (*struct{}, error) {
		return nil, a.Accounts.ChangePassword(ctx, auth.From(ctx), in.Body.Present, in.Body.Password)
	}, status(http.StatusNoContent))
	route(a, http.MethodGet, "/users", "list-users", "List users by name", func(ctx context.Context, in *Paging) (*answer[List[auth.User]], error) {
		all, err := a.Accounts.ListUsers(ctx)
		return paged(all, *in, func(u auth.User) string { return u.Name }, err)
	})
	route(a, http.MethodPost, "/users", "create-user", "Make a user", func(ctx context.Context, in *struct{ Body NewUser }) (*created[UserPassword], error) {
		u, password, err := a.Accounts.CreateUser(ctx, auth.NewUser{Name: in.Body.Name, Role: in.Body.Role, Password: in.Body.Password})
		return made("/users/"+u.ID, UserPassword{u, password}, err)
	}, status(http.StatusCreated))
	route(a, http.MethodGet, "/users/{id}", "get-user", "Get a user", func(ctx context.Context, in *Ref) (*answer[auth.User], error) {
		return answered(a.Accounts.GetUser(ctx, in.ID))
	})
	route(a, http.MethodPatch, "/users/{id}", "update-user", "Give a user another role, disable or enable them", func(ctx context.Context, in *struct {
		Ref
		Body UserPatch
	},
	) (*answer[auth.User], error) {
		return answered(a.Accounts.UpdateUser(ctx, in.ID, auth.UserPatch{Role: in.Body.Role, Disabled: in.Body.Disabled}))
	})
	route(a, http.MethodPost, "/users/{id}/reset-password", "reset-password", "Give a user another password; their sessions end", func(ctx context.Context, in *newPassword) (*answer[UserPassword], error) {
		var chosen string
		if in.Body != nil {
			chosen = in.Body.Password
		}
		u, password, err := a.Accounts.ResetPassword(ctx, in.ID, chosen)
		return answered(UserPassword{u, password}, err)
	})
	route(a, http.MethodDelete, "/users/{id}", "delete-user", "Delete a user, with their tokens and sessions", func(ctx context.Context, in *Ref) (*struct{}, error) {
		_, err := a.Accounts.DeleteUser(ctx, in.ID)
		return nil, err
	}, status(http.StatusNoContent))
}
