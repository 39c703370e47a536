package rest

import (
	"time"

	"github.com/catalogsync/catalogsync/simulator/internal/schema"
	"github.com/catalogsync/catalogsync/simulator/internal/store"
)

// view is the schema as one user sees it, while the permission tables stay as they were.
type view struct {
	generation uint64
	schema     *schema.Schema
}

// permissionTables decide what a user may see and do.
var permissionTables = []string{"PermissionSet", "PermissionSetAssignment", "ObjectPermissions", "FieldPermissions", "User"}

// guarded are the objects whose rights permission sets give; all others are open to everyone.
var guarded = []string{"Account", "Contact", "Lead", "Opportunity", "Campaign"}

// View is the schema as a user sees it: what the user's profile and permission sets allow together.
func (a *API) View(userID string) *schema.Schema {
	a.DB.RLock()
	defer a.DB.RUnlock()
	generation := uint64(a.DB.Schema.Count())
	for _, name := range permissionTables {
		generation += a.DB.MustTable(name).Changes() << 16
	}
	a.mu.Lock()
	v, ok := a.views[userID]
	a.mu.Unlock()
	if ok && v.generation == generation {
		return v.schema
	}
	v = view{generation, a.restrict(userID)}
	a.mu.Lock()
	a.views[userID] = v
	a.mu.Unlock()
	return v.schema
}

// restrict builds a user's view; where nothing is kept from the user it is the schema itself.
func (a *API) restrict(userID string) *schema.Schema {
	sets := a.permissionSets(userID)
	rights := map[string]schema.Rights{}
	for _, name := range guarded {
		rights[name] = schema.Rights{Fields: map[string]schema.FieldRights{}}
	}
	each(a.DB.MustTable("ObjectPermissions"), func(get func(string) string) {
		r, ok := rights[get("SobjectType")]
		if !ok || !sets[get("ParentId")] {
			return
		}
		yes := func(f string) bool { return get(f) == "true" }
		r.Read, r.Create, r.Edit, r.Delete = r.Read || yes("PermissionsRead"), r.Create || yes("PermissionsCreate"), r.Edit || yes("PermissionsEdit"), r.Delete || yes("PermissionsDelete")
		rights[get("SobjectType")] = r
	})
	each(a.DB.MustTable("FieldPermissions"), func(get func(string) string) {
		object := get("SobjectType")
		r, ok := rights[object]
		if !ok || !sets[get("ParentId")] || len(get("Field")) <= len(object) {
			return
		}
		field := get("Field")[len(object)+1:]
		f := r.Fields[field]
		f.Read, f.Edit = f.Read || get("PermissionsRead") == "true", f.Edit || get("PermissionsEdit") == "true"
		r.Fields[field] = f
	})
	for name, r := range rights {
		if full(a.DB.Schema.Object(name), r) {
			delete(rights, name)
		}
	}
	if len(rights) == 0 {
		return a.DB.Schema
	}
	return a.DB.Schema.Restrict(rights)
}

func full(o *schema.Object, r schema.Rights) bool {
	if !r.Read || !r.Create || !r.Edit || !r.Delete {
		return false
	}
	for _, f := range o.Fields {
		if rights := r.Fields[f.Name]; f.Permissionable && (!rights.Read || !rights.Edit && (f.Createable || f.Updateable)) {
			return false
		}
	}
	return true
}

// permissionSets are the ids of the sets that hold for a user: those assigned, and the hidden one of the profile.
func (a *API) permissionSets(userID string) map[string]bool {
	users := a.DB.MustTable("User")
	profile := ""
	if n := users.Serial(userID); n != 0 {
		profile = users.Row(n).Get(users.Object.Field("ProfileId").Slot)
	}
	sets := map[string]bool{}
	t := a.DB.MustTable("PermissionSet")
	for n := uint32(1); n <= t.Count(); n++ {
		if r := t.Row(n); r.State == store.Live && profile != "" && r.Get(t.Object.Field("ProfileId").Slot) == profile {
			sets[t.ID(n)] = true
		}
	}
	today := a.DB.Now().Format(time.DateOnly)
	each(a.DB.MustTable("PermissionSetAssignment"), func(get func(string) string) {
		if end := get("ExpirationDate"); get("AssigneeId") == userID && (end == "" || end >= today) {
			sets[get("PermissionSetId")] = true
		}
	})
	return sets
}

// each calls fn for the live records of a table.
func each(t *store.Table, fn func(get func(field string) string)) {
	for n := uint32(1); n <= t.Count(); n++ {
		r := t.Row(n)
		if r.State == store.Live {
			fn(func(field string) string { return r.Get(t.Object.Field(field).Slot) })
		}
	}
}
