import type { Screen } from '../../screens.ts';

export const screen: Screen = { paths: ['/schedules'], title: { en: 'Schedules', de: 'Zeitpläne' }, needs: 'timers:read', menu: { at: 7, key: 's' }, load: () => import('./Screen.svelte') };
