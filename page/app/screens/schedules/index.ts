import type { Screen } from '../../screens.ts';
import { localized } from '../../words/localized.ts';

const { title } = localized({ title: 'Schedules' });

export const screen: Screen = { paths: ['/schedules'], title, needs: 'timers:read', menu: { at: 7, key: 's' }, load: () => import('./Screen.svelte') };
