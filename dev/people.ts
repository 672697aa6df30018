/** A person in the stand-in's directory. */
export interface Person {
	/** Object id in this tenant. */
	readonly oid: string
	/** `userPrincipalName`; also what is typed on the sign-in page. */
	readonly upn: string
	readonly name: string
	/** Default: the `upn`. `null` for a person without a mailbox. */
	readonly mail?: string | null
	readonly jobTitle?: string
	/** `oid` of the manager. Default: none. */
	readonly manager?: string
	/** Default true. */
	readonly hasPhoto?: boolean
	/** Application roles, the `roles` claim. */
	readonly roles?: readonly string[]
	/** Group ids, the `groups` claim; above 200 Entra sends a reference instead of the list. */
	readonly groups?: readonly string[]
	/** Satisfied authentication contexts. */
	readonly acrs?: readonly string[]
	/** A guest's account in its home tenant: that, not `oid` and the tenant, is MSAL's home account id. */
	readonly home?: { readonly oid: string; readonly tid: string }
	/** A disabled account signs in nowhere and its refresh tokens fail. */
	readonly disabled?: boolean
}

/** The default people, each here for one case that an application has to cope with. */
export const people = {
	/** An ordinary employee, with everything. */
	ada: {
		oid: '0d000000-0000-4000-8000-000000000001',
		upn: 'ada@contoso.example',
		name: 'Ada Lovelace',
		jobTitle: 'Analyst',
		manager: '0d000000-0000-4000-8000-000000000002',
		groups: ['99999999-0000-4000-8000-000000000001'],
	},
	/** Ada's manager, who has none. */
	charles: {
		oid: '0d000000-0000-4000-8000-000000000002',
		upn: 'charles@contoso.example',
		name: 'Charles Babbage',
		jobTitle: 'Head of Engines',
	},
	/** An administrator: application roles. */
	grace: {
		oid: '0d000000-0000-4000-8000-000000000003',
		upn: 'grace@contoso.example',
		name: 'Grace Hopper',
		jobTitle: 'Administrator',
		manager: '0d000000-0000-4000-8000-000000000002',
		roles: ['Admin', 'Reports.Read'],
		groups: ['99999999-0000-4000-8000-000000000001', '99999999-0000-4000-8000-000000000002'],
	},
	/** A guest from another tenant. */
	emmy: {
		oid: '0d000000-0000-4000-8000-000000000004',
		upn: 'emmy_fabrikam.example#EXT#@contoso.example',
		mail: 'emmy@fabrikam.example',
		name: 'Emmy Noether (guest)',
		hasPhoto: false,
		home: { oid: '7e000000-0000-4000-8000-000000000004', tid: '77777777-8888-4999-aaaa-bbbbbbbbbbbb' },
	},
	/** No mailbox, no manager, no photo. */
	alan: {
		oid: '0d000000-0000-4000-8000-000000000005',
		upn: 'alan@contoso.example',
		mail: null,
		name: 'Alan Turing',
		hasPhoto: false,
	},
	/** More groups than fit into a token. */
	radia: {
		oid: '0d000000-0000-4000-8000-000000000006',
		upn: 'radia@contoso.example',
		name: 'Radia Perlman',
		jobTitle: 'Network Engineer',
		manager: '0d000000-0000-4000-8000-000000000002',
		groups: Array.from(
			{ length: 250 },
			(_, i) => `99999999-0000-4000-8000-${String(i + 1).padStart(12, '0')}`,
		),
	},
} as const satisfies Record<string, Person>

/** `people` as a list, in the order of the sign-in page. */
export const defaultPeople: readonly Person[] = Object.values(people)

/** The address a person is known by: a guest by that of the home tenant, everybody else by the `upn`. */
export function userNameOf(person: Person): string {
	return person.home && person.mail ? person.mail : person.upn
}

/** The person who types `userName`: a `upn` or a mail address, in any case. */
export function findByUserName(everybody: readonly Person[], userName: string): Person | undefined {
	const wanted = userName.trim().toLowerCase()
	if (!wanted) return undefined
	return everybody.find((p) => p.upn.toLowerCase() === wanted || p.mail?.toLowerCase() === wanted)
}
