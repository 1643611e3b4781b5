import numpy as np, time, evsim, sys
from evsim.proof import problem, state, rows as R, prove as P, bounds as B, events as E
from evsim.proof.layout import *
d=np.load('/work/shared/data/chaotic20.npz')
def net_of(d):
    net=evsim.Network()
    n_in=int(d['input_unit'].max())+1
    net.add_input('in',n_in)
    net.add_population('p',20,evsim.LIF(tau_mem=float(d['tau_mem']),tau_syn=float(d['tau_syn']),v_th=float(d['v_th']),v_reset=float(d['v_reset']),t_ref=float(d['t_ref'])))
    net.connect('in','p',weight=d['input_weight'],pre_units=d['input_unit'],post_units=d['input_post'])
    net.connect('p','p',weight=d['weight'],delay=d['delay'],pre_units=d['pre'],post_units=d['post'])
    return net
if __name__=='__main__':
    net=net_of(d)
    T=float(sys.argv[1]); dd=sys.argv[2]=='dd'; cap=sys.argv[3]!='scalar'
    m=d['true_times']<=T
    sp={'p':evsim.Spikes(d['true_times'][m],d['true_units'][m])}
    inp={'in':evsim.Spikes(d['input_times'],d['input_units'])}
    t=time.time()
    pr=problem.build(net,inp,{'p':(np.zeros(20),np.zeros(20))},sp,T,0.04)
    print('build',time.time()-t,pr.count)
    like=(0.0,0.0) if dd else 0.0
    for rep in range(3):
        st,src=state.initial(pr)
        rows=R.new_rows(pr.size,WIDTH,pr.count+8 if cap else 0)
        task=E.Task(pr.neurons,st,src,pr.arrivals,rows,B.DOUBLE if dd else B.SINGLE,0.04,np.inf,cap,records(WORK,1)[0],records(WORK,1)[0],np.zeros(pr.count+8),records(REPORT,1)[0])
        t=time.time()
        k,code=P.prove(task,0,pr.count,like)
        t=time.time()-t
        print(code,k,task.report,'us/spike',t/max(1,k)*1e6,'t',t)
    r=src.radius[:k]
    print('max r',r.max() if k else 0, 'gap',st.gap.min())
    t=time.time()
    for n in range(pr.size):
        code=E.still(task,n,pr.count,T,0.0,True,like)
        if code: print('still',n,code,task.report); break
    print('still',time.time()-t)
