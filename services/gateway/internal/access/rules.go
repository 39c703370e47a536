// Package access owns who may come in and what they may do: API tokens, the operator's token, sessions of people who
// signed in, what an OpenID Connect issuer vouches for, and the rule that every method declares in its proto. A method
// without a rule cannot be served.
package access

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	"github.com/catalogsync/catalogsync/internal/rpc"
)

// Rules are the least roles that may call methods, by full method such as /catalogsync.sync.v1.RunService/GetRun.
type Rules map[string]optionsv1.Role

// ReadRules reads the rules of all methods of the services. The error names every method that has none.
func ReadRules(services ...protoreflect.ServiceDescriptor) (Rules, error) {
	rules := Rules{}
	var problems []error
	for _, s := range services {
		for i := range s.Methods().Len() {
			m := s.Methods().Get(i)
			rule := rpc.RuleOf(m)
			if _, known := optionsv1.Role_name[int32(rule.GetRole())]; !known || rule.GetRole() == optionsv1.Role_ROLE_UNSPECIFIED {
				problems = append(problems, fmt.Errorf("method %s has no rule: add option (catalogsync.options.v1.rule) to it", m.FullName()))
				continue
			}
			rules[FullMethod(m)] = rule.GetRole()
		}
	}
	return rules, errors.Join(problems...)
}

// FullMethod is the method's name on the wire.
func FullMethod(m protoreflect.MethodDescriptor) string {
	return fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name())
}

// Public reports whether callers from outside may call a method with the rule.
func Public(r optionsv1.Role) bool {
	return r >= optionsv1.Role_ROLE_VIEWER && r <= optionsv1.Role_ROLE_OPERATOR
}

// OfTenant reports whether a role is one that somebody has in a tenant.
func OfTenant(r optionsv1.Role) bool {
	return r >= optionsv1.Role_ROLE_VIEWER && r <= optionsv1.Role_ROLE_OWNER
}

// reads are how methods begin that change nothing.
var reads = []string{"Get", "List", "Diff", "Suggest", "Try", "Diagnose"}

// Audited reports whether a call of the method is written into the audit log before it is made: it takes an admin or
// more, and changes something.
func (r Rules) Audited(fullMethod string) bool {
	if r[fullMethod] < optionsv1.Role_ROLE_ADMIN {
		return false
	}
	name := fullMethod[strings.LastIndexByte(fullMethod, '/')+1:]
	for _, read := range reads {
		if strings.HasPrefix(name, read) {
			return false
		}
	}
	return true
}

// roleName is the role as people write it.
func roleName(r optionsv1.Role) string {
	return strings.ToLower(strings.TrimPrefix(r.String(), "ROLE_"))
}

// RoleNamed is the role of a tenant that people write so.
func RoleNamed(name string) (optionsv1.Role, bool) {
	r := optionsv1.Role(optionsv1.Role_value["ROLE_"+strings.ToUpper(name)])
	return r, OfTenant(r) && name == roleName(r)
}
