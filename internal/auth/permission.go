package auth

import (
	"maps"
	"slices"
)

// permissions are the operations of the API with the least role that may do them. An
// operation that is not here may be done by nobody: the API does not start with one.
var permissions = map[string]Role{
	// What is watched, and what was found.
	"list-satellites": Viewer, "get-satellite": Viewer, "list-satellite-transitions": Viewer, "list-regions": Viewer,
	"list-systems": Viewer, "get-system": Viewer, "get-system-status": Viewer, "get-system-history": Viewer, "get-system-completeness": Viewer,
	"list-checks": Viewer, "get-check": Viewer, "get-check-history": Viewer, "list-verdicts": Viewer, "get-evidence": Viewer, "list-strategies": Viewer,
	"list-assignments": Viewer, "get-assignment": Viewer, "preview-placement": Viewer,
	"list-maintenances": Viewer, "get-maintenance": Viewer,
	"list-incidents": Viewer, "get-incident": Viewer, "list-notes": Viewer,
	"list-automations": Viewer, "get-automation": Viewer, "list-automation-runs": Viewer, "get-automation-run": Viewer,
	"list-actions": Viewer, "list-triggers": Viewer, "get-automation-schema": Viewer,
	"list-channels": Viewer, "get-channel": Viewer, "list-deliveries": Viewer,
	"list-packages": Viewer, "get-installation": Viewer, "list-package-states": Viewer, "list-package-trees": Viewer, "get-package-types": Viewer, "list-unneeded-packages": Viewer,
	"list-secrets": Viewer, "list-secret-leases": Viewer, "get-sandbox-policy": Viewer,
	"list-results": Viewer, "list-skips": Viewer, "list-eras": Viewer, "list-completeness": Viewer, "get-run-request": Viewer,
	"get-status": Viewer, "list-events": Viewer, "stream-events": Viewer, "export-documents": Viewer,
	"get-about": Viewer,

	// One's own.
	"get-me": Viewer, "change-password": Viewer, "list-tokens": Viewer, "create-token": Viewer, "revoke-token": Viewer,

	// The daily work.
	"create-satellite": Operator, "update-satellite": Operator, "delete-satellite": Operator, "cordon-satellite": Operator,
	"uncordon-satellite": Operator, "drain-satellite": Operator, "rotate-satellite-token": Operator, "revoke-previous-satellite-token": Operator,
	"create-system": Operator, "update-system": Operator, "delete-system": Operator,
	"create-check": Operator, "update-check": Operator, "delete-check": Operator, "run-check": Operator, "try-check": Operator,
	"create-assignment": Operator, "update-assignment": Operator, "delete-assignment": Operator, "run-assignment": Operator,
	"create-maintenance": Operator, "update-maintenance": Operator, "end-maintenance": Operator, "delete-maintenance": Operator,
	"open-incident": Operator, "update-incident": Operator, "add-note": Operator,
	"create-automation": Operator, "update-automation": Operator, "delete-automation": Operator, "enable-automation": Operator,
	"disable-automation": Operator, "run-automation": Operator, "dry-run-automation": Operator,
	"cancel-automation-run": Operator, "rerun-automation-run": Operator,
	"create-channel": Operator, "update-channel": Operator, "delete-channel": Operator, "test-channel": Operator,
	"set-secret": Operator, "delete-secret": Operator,
	"apply-documents": Operator,

	// Who may do what, and what may run on satellites.
	"list-users": Admin, "get-user": Admin, "create-user": Admin, "update-user": Admin, "reset-password": Admin, "delete-user": Admin,
	"list-audit":  Admin,
	"import":      Admin, // satellites with their tokens
	"add-package": Admin, "enable-package": Admin, "remove-package": Admin, "install-packages": Admin, "collect-packages": Admin,
	"set-sandbox-policy": Admin, "reset-sandbox-policy": Admin,
	"rotate-secret-key": Admin,
}

// Needs is the least role that may do the operation; not ok when nobody has said.
func Needs(operation string) (least Role, ok bool) {
	least, ok = permissions[operation]
	return least, ok
}

// Operations are those that the role may do, sorted.
func Operations(r Role) []string {
	may := []string{}
	for _, operation := range slices.Sorted(maps.Keys(permissions)) {
		if r.Includes(permissions[operation]) {
			may = append(may, operation)
		}
	}
	return may
}
